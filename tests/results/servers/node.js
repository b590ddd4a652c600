// A process of one thread, as Node is.
const http = require("http");
const body = "Hello, World!";
const server = http.createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": body.length });
  response.end(body);
});
server.keepAliveTimeout = 60000;
server.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });
