//! The table of techniques. Everything that lists them is made from it: [`Techniques`], the keys of
//! the configuration, the doctor, the ladder, and the sets of the tests.

use crate::capabilities;

/// A technique of `io_uring:tuned`: an io_uring feature that the engine can do without.
#[derive(Clone, Copy, Debug)]
pub struct Technique {
    /// The name of its field in [`Techniques`].
    pub key: &'static str,
    /// The key with the section of a configuration file: `io_uring.defer_taskrun`.
    pub qualified_key: &'static str,
    /// A description, in lines.
    pub documentation: &'static [&'static str],
    /// The first Linux with it. Distributions backport features and sandboxes remove them, so
    /// `capabilities` decide.
    pub linux: &'static str,
    /// The capabilities of the kernel that it needs; their probes are
    /// [`capabilities`](crate::capabilities).
    pub capabilities: &'static [&'static str],
    /// Techniques without which it has no effect.
    pub requires: &'static [&'static str],
    /// Techniques that replace or exclude it.
    pub yields_to: &'static [&'static str],
    /// The values that it accepts.
    pub values: TechniqueValues,
    /// The value in [`Techniques::BEST`]; 0 is off.
    pub default: u32,
    /// A value that turns it on.
    pub enabled: u32,
    /// No measurement on any load or kernel shows that it pays.
    pub is_experimental: bool,
    /// A description of its step in the ladder; `None` without a step. The steps have the order of
    /// the table.
    pub ladder_step: Option<&'static str>,
    get: fn(&Techniques) -> u32,
    set: fn(&mut Techniques, u32),
}

/// The values that a technique accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TechniqueValues {
    /// Off (0) or on (1).
    Switch,
    /// A number up to this one; 0 is off.
    UpTo(u32),
    /// A power of two up to this one; 0 is off.
    PowerOfTwoUpTo(u32),
}

impl TechniqueValues {
    /// Returns true if a technique accepts the value.
    pub const fn accept(self, value: u32) -> bool {
        match self {
            Self::Switch => value <= 1,
            Self::UpTo(max) => value <= max,
            Self::PowerOfTwoUpTo(max) => value == 0 || value <= max && value.is_power_of_two(),
        }
    }
}

impl Technique {
    /// Returns the technique with this key.
    pub fn find(key: &str) -> Option<&'static Self> {
        Techniques::ALL.iter().find(|it| it.key == key)
    }

    /// Returns its value in a set; 0 is off.
    pub fn value_in(&self, techniques: &Techniques) -> u32 {
        (self.get)(techniques)
    }

    /// Returns the setting that gives it a value: `io_uring.defer_taskrun=true`.
    pub fn setting(&self, value: u32) -> String {
        match self.values {
            TechniqueValues::Switch => format!("{}={}", self.qualified_key, value > 0),
            _ => format!("{}={value}", self.qualified_key),
        }
    }

    /// Returns the smallest set in which it has an effect: alone, or with those that it requires.
    pub fn alone(&self) -> Techniques {
        let mut techniques = Techniques::NONE;
        self.enable_in(&mut techniques);
        techniques
    }

    fn enable_in(&self, techniques: &mut Techniques) {
        self.required().for_each(|it| it.enable_in(techniques));
        (self.set)(techniques, self.enabled);
    }

    fn required(&self) -> impl Iterator<Item = &'static Self> {
        self.requires.iter().map(|key| Self::find(key).expect("the table has what it requires"))
    }

    /// Returns true if it is a flag of io_uring_setup(2), which itself refuses what the kernel does
    /// not know.
    pub(super) fn is_setup_flag(&self) -> bool {
        self.capabilities.iter().all(|name| name.starts_with("setup_"))
    }

    /// Runs the probes of its capabilities.
    pub(super) fn is_supported(&self) -> bool {
        capabilities::all()
            .filter(|it| self.capabilities.contains(&it.name))
            .all(|it| (it.probe)().is_ok())
    }
}

/// A type of a field of [`Techniques`].
trait Value: Into<u32> {
    fn from_number(number: u32) -> Self;
}

impl Value for bool {
    fn from_number(number: u32) -> Self {
        number != 0
    }
}

impl Value for u16 {
    fn from_number(number: u32) -> Self {
        Self::try_from(number).expect("the values of the technique fit its field")
    }
}

impl Value for u32 {
    fn from_number(number: u32) -> Self {
        number
    }
}

macro_rules! techniques {
    ($(
        $(#[doc = $line:literal])+
        $key:ident: $type:ty = $none:literal {
            linux: $linux:literal,
            capabilities: $capabilities:tt,
            $(requires: $requires:tt,)?
            $(yields_to: $yields_to:tt,)?
            $(values: $values:expr,)?
            default: $default:literal,
            $(enabled: $enabled:literal,)?
            $(experimental: $is_experimental:tt,)?
            $(ladder_step: $ladder_step:literal,)?
        }
    )+) => {
        /// The techniques of `io_uring:tuned`. Those that paid in measurements are on by default.
        /// Each that this kernel does not support, or that has no effect, is disabled:
        /// [`crate::Backend::techniques`] returns the techniques in force.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Techniques {
            $(
                $(#[doc = $line])+
                #[doc = concat!(" Linux ", $linux, ".")]
                $(#[doc = experimental!($is_experimental)])?
                pub $key: $type,
            )+
        }

        impl Techniques {
            /// The table of techniques.
            pub const ALL: &[Technique] = &[$(Technique {
                key: stringify!($key),
                qualified_key: concat!("io_uring.", stringify!($key)),
                documentation: &[$($line),+],
                linux: $linux,
                capabilities: &$capabilities,
                requires: or!(&[]; $(&$requires)?),
                yields_to: or!(&[]; $(&$yields_to)?),
                values: or!(TechniqueValues::Switch; $($values)?),
                default: $default as u32,
                enabled: or!($default as u32; $($enabled as u32)?),
                is_experimental: or!(false; $($is_experimental)?),
                ladder_step: or!(None; $(Some($ladder_step))?),
                get: |techniques| techniques.$key.into(),
                set: |techniques, value| techniques.$key = Value::from_number(value),
            },)+];

            /// No techniques: as `io_uring:single_shot`, except for the shutdown.
            pub const NONE: Self = Self { $($key: $none,)+ };

            /// The set that measured best; the default.
            pub const BEST: Self = Self { $($key: $default,)+ };
        }
    };
}

/// Expands to the second argument, or to the first if there is no second.
macro_rules! or {
    ($default:expr;) => {
        $default
    };
    ($default:expr; $given:expr) => {
        $given
    };
}

macro_rules! experimental {
    (true) => {
        " Experimental."
    };
}

techniques! {
    /// Does not interrupt the server to run completion work (IORING_SETUP_COOP_TASKRUN); used if
    /// defer_taskrun is not in force.
    coop_taskrun: bool = false {
        linux: "5.19",
        capabilities: ["setup_coop_taskrun"],
        yields_to: ["sqpoll", "defer_taskrun"],
        default: true,
        ladder_step: "no interrupts for task work (IORING_SETUP_COOP_TASKRUN)",
    }
    /// Runs completion work only when the server waits for completions
    /// (IORING_SETUP_DEFER_TASKRUN).
    defer_taskrun: bool = false {
        linux: "6.1",
        capabilities: ["setup_defer_taskrun"],
        yields_to: ["sqpoll"],
        default: true,
        ladder_step: "task work runs when the server waits for CQEs (IORING_SETUP_DEFER_TASKRUN)",
    }
    /// One ACCEPT accepts all connections, as long as enough connection slots are free.
    multishot_accept: bool = false {
        linux: "5.19",
        capabilities: ["accept_multishot"],
        default: true,
        ladder_step: "one multishot ACCEPT for all connections",
    }
    /// Receive buffers that all connections share (IORING_REGISTER_PBUF_RING); a power of two. 0:
    /// one buffer for each connection.
    provided_buffers: u16 = 0 {
        linux: "5.19",
        capabilities: ["buf_ring"],
        values: TechniqueValues::PowerOfTwoUpTo(32_768),
        default: 1024,
        ladder_step: "receive buffers shared by all connections (provided buffer ring)",
    }
    /// One RECV receives all data of a connection that receives more than once; needs
    /// provided_buffers.
    multishot_receive: bool = false {
        linux: "6.0",
        capabilities: ["recv_multishot"],
        requires: ["provided_buffers"],
        default: true,
        ladder_step: "one multishot RECV for each connection",
    }
    /// Sends responses of at least this length without copying them (IORING_OP_SEND_ZC). 0: never.
    send_zc_min_bytes: u32 = 0 {
        linux: "6.0",
        capabilities: ["send_zc"],
        values: TechniqueValues::UpTo(1 << 30),
        default: 0,
        enabled: 1,
    }
    /// A kernel thread polls the submission queue (IORING_SETUP_SQPOLL), which keeps a CPU busy.
    sqpoll: bool = false {
        linux: "5.11",
        capabilities: ["setup_sqpoll"],
        default: false,
        enabled: true,
    }
    /// One receive can fill several provided buffers (IORING_RECVSEND_BUNDLE); needs
    /// multishot_receive.
    bundles: bool = false {
        linux: "6.10",
        capabilities: ["recv_bundle"],
        requires: ["multishot_receive"],
        default: false,
        enabled: true,
        experimental: true,
    }
}

impl Techniques {
    /// Returns the keys of the techniques that are on.
    pub fn names(&self) -> Vec<&'static str> {
        Self::ALL.iter().filter(|it| it.value_in(self) > 0).map(|it| it.key).collect()
    }

    /// Sets a technique by its key. Returns false, and changes nothing, if there is no such
    /// technique or if it does not accept the value.
    #[must_use = "the technique is unchanged if this is false"]
    pub fn set(&mut self, key: &str, value: u32) -> bool {
        let technique = Technique::find(key).filter(|it| it.values.accept(value));
        if let Some(technique) = technique {
            (technique.set)(self, value);
        }
        technique.is_some()
    }

    /// Turns off what has no effect together with the others, on any kernel.
    pub(super) fn disable_conflicting(&mut self) {
        // Those that others require are earlier in the table.
        for technique in Self::ALL {
            let is_on = |key: &&str| self.names().contains(key);
            if !technique.requires.iter().all(is_on) || technique.yields_to.iter().any(is_on) {
                (technique.set)(self, 0);
            }
        }
    }
}

impl Default for Techniques {
    fn default() -> Self {
        Self::BEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_capabilities_that_the_table_names_exist() {
        for (index, it) in Techniques::ALL.iter().enumerate() {
            let earlier = |key: &&str| Techniques::ALL[..index].iter().any(|it| it.key == *key);
            assert!(it.requires.iter().all(earlier), "{} is later than what it requires", it.key);
            assert!(it.yields_to.iter().all(|key| Technique::find(key).is_some()), "{}", it.key);
            let exists = |name: &&str| capabilities::all().any(|it| it.name == *name);
            assert!(
                !it.capabilities.is_empty() && it.capabilities.iter().all(exists),
                "{}",
                it.key
            );
            assert!(!it.is_experimental || it.default == 0, "{} is on by default", it.key);
        }
    }

    #[test]
    fn techniques_can_be_set_by_key_to_what_they_accept() {
        for it in Techniques::ALL {
            assert!(it.enabled > 0 && it.values.accept(it.enabled) && it.values.accept(it.default));
            assert_eq!(it.value_in(&Techniques::BEST), it.default, "{}", it.key);
            let mut techniques = Techniques::NONE;
            assert!(techniques.set(it.key, it.enabled));
            assert_eq!(techniques.names(), [it.key]);
            assert!(!techniques.set(it.key, u32::MAX), "{}", it.key);
            assert_eq!(it.value_in(&techniques), it.enabled);
        }
        assert!(!Techniques::default().set("busy_poll_us", 1));
        assert!(!TechniqueValues::PowerOfTwoUpTo(8).accept(3));
    }

    #[test]
    fn technique_alone_has_what_it_requires() {
        for it in Techniques::ALL {
            let mut alone = it.alone();
            alone.disable_conflicting();
            assert_eq!(alone, it.alone(), "{}", it.key);
            assert!(it.value_in(&alone) > 0 && alone.names().len() <= 3, "{}", it.key);
        }
        let mut all = Techniques::NONE;
        Techniques::ALL.iter().for_each(|it| (it.set)(&mut all, it.enabled));
        all.disable_conflicting();
        assert!(!all.defer_taskrun && !all.coop_taskrun && all.sqpoll && all.bundles);
    }
}
