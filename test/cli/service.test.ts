// SPDX-License-Identifier: Apache-2.0
/** `tandem service` as a person runs it: a list, one Service in full, and a name that there is not. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { complaints, damaged } from '../schema/validate.ts';

const root = join(import.meta.dirname, '../..');
const recording = ['services', 'endpointslices', 'nodes'].map((kind) => `fixtures/outside/${kind}.events.ndjson`);

function service(...words: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['cli/main.ts', 'service', ...words], { cwd: root, encoding: 'utf8' });
}

describe('tandem service', () => {
  test('list: a line each, the same as JSON by its schema', () => {
    const { status, stdout } = service('list', ...recording, '--node-name', 'node1');
    expect(status).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(8);
    expect(lines[3]).toMatch(
      /^shop\/web-lb +LoadBalancer +10\.96\.116\.187,192\.0\.2\.1 +http=80:32197\/TCP +4\/4 +health check 200; external policy Local$/,
    );
    const document: unknown = JSON.parse(service('list', ...recording, '-o', 'json').stdout);
    expect(complaints('compiled-service-list', document)).toEqual([]);
    for (const [what, wrong] of damaged(document))
      expect(complaints('compiled-service-list', wrong), what).not.toEqual([]);
  });

  test('show: who reaches a load balancer from where; a name alone will do where it is the only one', () => {
    const { status, stdout } = service('show', 'web-lb', ...recording, '--node-name', 'node2');
    expect(status).toBe(0);
    expect(stdout).toContain(
      [
        'LoadBalancer 192.0.2.1:80/TCP (http)',
        'NodePort 10.88.0.12:32197/TCP (http)',
        "  pods here       4 backends; the backend sees the pod's own address",
        "  this node       the same; the backend sees this node's address",
        '    10.244.1.8:8080   node1      zone zone1',
        '    10.244.1.9:8080   node1      zone zone1',
        '    10.244.2.10:8080  this node  zone zone2',
        '    10.244.2.9:8080   this node  zone zone2',
        "  outside         2 backends; the backend sees the client's own address",
        '    10.244.2.10:8080  this node  zone zone2',
        '    10.244.2.9:8080   this node  zone zone2',
        '    left out (2):',
        '    10.244.1.8:8080  node1  not on this node',
        '    10.244.1.9:8080  node1  not on this node',
        '',
      ].join('\n'),
    );
    for (const name of ['shop/web', 'shop/web-lb', 'shop/web-np', 'shop/web-sticky', 'default/kubernetes']) {
      const document: unknown = JSON.parse(service('show', name, ...recording, '-o', 'json').stdout);
      expect(complaints('compiled-service', document), name).toEqual([]);
      for (const [what, wrong] of damaged(document))
        expect(complaints('compiled-service', wrong), what).not.toEqual([]);
    }
  });

  test('a name that is not there ends with exit code 2 and the nearest names', () => {
    const { status, stdout, stderr } = service('show', 'shop/wbe-lb', ...recording);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toBe(
      'tandem: shop/wbe-lb: no such Service in these files; the nearest of 5: shop/web-lb, shop/web, shop/web-np\n',
    );
    expect(service('show', 'other/web', ...recording).stderr).toContain('the nearest of 5: shop/web,');
    expect(service('show', 'shop/web', '/dev/null').stderr).toContain('there is no Service in them at all');
  });

  test.each([
    [['show', 'shop/web'], 'needs NAMESPACE/NAME and files'],
    [['list', 'nowhere.yaml'], 'nowhere.yaml: cannot be opened: ENOENT'],
    [['frobnicate', 'a'], 'Allowed choices are list, show'],
  ])('%j ends with exit code 2', (words, message) => {
    const { status, stderr } = service(...words);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });

  test('what is not needed is not loaded: a stream without a configuration needs neither YAML nor zod', () => {
    const hook =
      "import { registerHooks } from 'node:module';" +
      'registerHooks({ load(url, context, next) { process.stderr.write(`${url}\\n`); return next(url, context); } });';
    const words = ['--import', `data:text/javascript,${encodeURIComponent(hook)}`, 'cli/main.ts', 'service', 'list'];
    const { stderr } = spawnSync(process.execPath, [...words, ...recording], { cwd: root, encoding: 'utf8' });
    expect(stderr).toContain('/formats/events.ts');
    for (const name of ['/node_modules/yaml/', '/node_modules/zod/', '/control/tell/showtext.ts', '/formats/config.ts'])
      expect(stderr).not.toContain(name);
    expect(readFileSync(join(root, 'formats/config.ts'), 'utf8')).toContain("from 'zod'");
  });
});
