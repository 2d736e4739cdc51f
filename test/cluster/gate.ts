// SPDX-License-Identifier: Apache-2.0
/** A program: what connects to a socket of the file system here reaches a port of the network namespace it runs in. */
import { connect, createServer } from 'node:net';

const [path = '', port = ''] = process.argv.slice(2);

createServer((outer) => {
  const inner = connect(Number(port), '127.0.0.1');
  outer.on('error', () => inner.destroy()).pipe(inner);
  inner.on('error', () => outer.destroy()).pipe(outer);
}).listen(path);
