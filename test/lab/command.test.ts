// SPDX-License-Identifier: Apache-2.0
/** `tandem lab` leaves a lab up for people to try things in, and takes it away by name. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';

const name = 'labcommand';
const main = new URL('../../cli/main.ts', import.meta.url).pathname;

function tandem(...words: readonly string[]): {
  readonly code: number | null;
  readonly output: string;
  readonly said: string;
} {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words], { encoding: 'utf8' });
  return { code: status, output: stdout, said: stderr };
}

function labs(): readonly string[] {
  return (JSON.parse(tandem('lab', 'list', '-o', 'json').output) as { readonly labs: readonly string[] }).labs;
}

afterAll(() => {
  tandem('lab', 'down', name);
});

test('a lab that was brought up stays until it is taken down', () => {
  const up = tandem('lab', 'up', name, '-o', 'json');
  expect(up).toMatchObject({ code: 0, said: '' });
  const { pods } = JSON.parse(up.output) as { readonly pods: readonly { readonly namespacePath: string }[] };
  expect(pods.map(({ namespacePath }) => existsSync(namespacePath))).toEqual(pods.map(() => true));
  expect(labs()).toContain(name);
  // Somebody's own client: bash's /dev/tcp needs no program.
  const script = 'exec 3<>/dev/tcp/10.244.2.4/8080; read -r line <&3; echo "$line"';
  const client = spawnSync('nsenter', [`--net=${pods[2]?.namespacePath}`, '--', 'bash', '-c', script], {
    encoding: 'utf8',
  });
  expect(JSON.parse(client.stdout)).toMatchObject({ pod: 'web3', address: '10.244.2.4', port: 8080 });
  const again = tandem('lab', 'up', name);
  expect(again).toEqual({
    code: 4,
    output: '',
    said: `tandem: lab ${name}: is up already; ./tandem lab down ${name}\n`,
  });
  expect(tandem('lab', 'down', name)).toEqual({ code: 0, output: `lab ${name} is gone\n`, said: '' });
  expect(labs()).not.toContain(name);
  expect(pods.map(({ namespacePath }) => existsSync(namespacePath))).toEqual(pods.map(() => false));
});

test.each([
  { words: ['down', 'nosuchlab'], said: /^tandem: lab "nosuchlab": is not up; labs: .*\n$/ },
  { words: ['up', 'a-b'], said: /^tandem: lab "a-b": not a name; use 1 to 16 lower-case letters and digits\n$/ },
])('tandem lab $words.0 $words.1 is wrong usage in one line', ({ words, said }) => {
  const refused = tandem('lab', ...words);
  expect(refused).toMatchObject({ code: 2, output: '' });
  expect(refused.said).toMatch(said);
});
