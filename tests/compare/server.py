"""A small HTTP/1.0 server that starts in one of several ways: server.py WAY PORT [TEXT]."""

import os
import signal
import socket
import sys
import time

WAY, PORT = sys.argv[1], int(sys.argv[2])
TEXT = sys.argv[3] if len(sys.argv) > 3 else "Hello"
RESPONSE = f"HTTP/1.0 200 OK\r\nContent-Length: {len(TEXT)}\r\n\r\n{TEXT}".encode()


def listen(family=socket.AF_INET, address="127.0.0.1", port=PORT, only_ipv6=0):
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
    listener.bind((address, port))
    listener.listen(1024)
    return listener


def respond(connection):
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        piece = connection.recv(4096)
        if not piece:
            break
        request += piece
    else:
        connection.sendall(RESPONSE)
    connection.close()


def serve(listener, before=lambda: None):
    while True:
        connection, _ = listener.accept()
        before()
        try:
            respond(connection)
        except OSError:
            connection.close()


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def log():
    for descriptor in (1, 2):
        os.write(descriptor, b"x" * 65536)


def daemonise():
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


def fork_for_each(listener):
    while True:
        connection, _ = listener.accept()
        child = os.fork()
        if not child:
            burn(0.002)
            respond(connection)
            os._exit(0)
        connection.close()
        os.waitpid(child, 0)


if WAY == "plain":
    serve(listen())
elif WAY == "forks":
    shared = listen()
    workers = [os.fork() for _ in range(1)]
    if not workers[-1]:
        workers.append(os.fork())
    serve(shared)
elif WAY == "forks_for_each":
    fork_for_each(listen())
elif WAY == "daemonises":
    daemonise()
    serve(listen())
elif WAY == "re-executes":
    os.execv(sys.executable, [sys.executable, sys.argv[0], "plain", *sys.argv[2:]])
elif WAY == "listens_late":
    time.sleep(0.3)
    serve(listen())
elif WAY == "several_ports":
    others = [listen(port=0), listen(port=0)]
    serve(listen())
elif WAY == "ipv6":
    serve(listen(socket.AF_INET6, "::"))
elif WAY == "only_ipv6":
    serve(listen(socket.AF_INET6, "::", only_ipv6=1))
elif WAY == "logs":
    serve(listen(), before=log)
elif WAY == "ignores_sigterm":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(listen())
elif WAY == "ready_later":
    # It listens, but does not respond before the line.
    listener = listen()
    time.sleep(0.3)
    print("ready to serve", flush=True)
    serve(listener)
elif WAY == "unavailable_at_first":
    ready_response, left = RESPONSE, 3
    RESPONSE = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

    def count_down():
        global RESPONSE, left
        if left == 0:
            RESPONSE = ready_response
        left -= 1

    serve(listen(), before=count_down)
elif WAY == "instance":
    RESPONSE = RESPONSE.replace(b"\r\n\r\n", b"\r\nX-Instance: %d\r\n\r\n" % os.getpid())
    serve(listen())
elif WAY == "environment":
    assert os.environ["PORT"] == str(PORT) and os.environ["ADDRESS"] == f"127.0.0.1:{PORT}"
    assert os.path.exists("made-before"), os.getcwd()
    import resource

    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 333
    serve(listen())
else:
    sys.exit(f"no such way: {WAY}")
