//! A list of requests, drawn at random.

use super::random::splitmix64;
use super::request::Request;

/// The largest number of lines of a list, which bounds the requests before the load.
pub const MAX_LIST_LINES: usize = 10_000;

/// The requests of a list. Each line is drawn with the same probability.
#[derive(Debug)]
pub struct RequestList {
    name: String,
    requests: Vec<Request>,
    /// For each line, the index of its request.
    lines: Vec<u32>,
    seed: u64,
}

impl RequestList {
    /// Creates a list. Equal requests share one reference.
    ///
    /// # Errors
    /// Fails if there is no request, or more than [`MAX_LIST_LINES`].
    pub fn new(name: &str, requests: Vec<Request>, seed: u64) -> Result<Self, String> {
        if !(1..=MAX_LIST_LINES).contains(&requests.len()) {
            return Err(format!(
                "a list must have 1 to {MAX_LIST_LINES} requests, not {}",
                requests.len()
            ));
        }
        let mut indices = std::collections::HashMap::new();
        let mut distinct: Vec<Request> = Vec::new();
        let mut lines = Vec::with_capacity(requests.len());
        for request in requests {
            let index = *indices.entry(request.bytes().to_vec()).or_insert_with(|| {
                distinct.push(request);
                distinct.len() as u32 - 1
            });
            lines.push(index);
        }
        Ok(Self { name: name.to_owned(), requests: distinct, lines, seed })
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seed of the draws.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The distinct requests.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Returns the number of lines.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// Returns the state of a random sequence. Each `stream` has its own.
    pub(super) fn start(&self, stream: u64) -> u64 {
        self.seed.wrapping_add(stream << 32)
    }

    /// Draws the index of a request.
    pub(super) fn draw(&self, state: &mut u64) -> u32 {
        // The high half of the product maps the number to the lines without a division.
        let line = (u128::from(splitmix64(state)) * self.lines.len() as u128) >> 64;
        self.lines[line as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_as_often_as_the_others() {
        let request = |path| Request::get(path, "a", &[]).unwrap();
        let requests = ["/a", "/b", "/a", "/c"].map(request).to_vec();
        let list = RequestList::new("list", requests, 7).unwrap();
        assert_eq!((list.requests().len(), list.line_count()), (3, 4));
        let mut state = list.start(1);
        let drawn: Vec<u32> = (0..40_000).map(|_| list.draw(&mut state)).collect();
        for (index, lines) in [2, 1, 1].into_iter().enumerate() {
            let share = drawn.iter().filter(|&&it| it == index as u32).count() as f64 / 10_000.0;
            assert!((share - f64::from(lines)).abs() < 0.05, "{index}: {share}");
        }
        let mut again = list.start(1);
        assert!(drawn.iter().all(|&it| it == list.draw(&mut again)), "the seed determines it");
        assert_ne!(list.start(2), list.start(1));
        assert!(RequestList::new("empty", Vec::new(), 1).is_err());
        let many = vec![request("/"); MAX_LIST_LINES + 1];
        assert!(RequestList::new("long", many, 1).is_err());
    }
}
