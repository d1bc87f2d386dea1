// A Node.js server behind `outlast run`: listens on descriptor 3 and finishes its requests on SIGTERM. Node.js cannot send
// datagrams to a Unix socket, so it counts as ready once it has lived for a second; until it accepts, connections wait.
//
//   outlast run --listen=tcp://127.0.0.1:8080 --ready=exec -- node server.js

const http = require('node:http');

const server = http.createServer((request, response) => response.end(`${process.pid}\n`));
server.listen({ fd: 3 });

process.once('SIGTERM', () => {
  server.close();  // ends the process when the last connection has ended
  server.closeIdleConnections();
});
