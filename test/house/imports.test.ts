// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { checkClosures, checkDirections, closureOf, importsOf, kernelDoors } from './imports.ts';

describe('import directions', () => {
  const forbidden = [
    ['core/a.ts', "import { b } from '../formats/b.ts';", 'core may import nothing'],
    ['core/a.ts', "import { readFileSync } from 'node:fs';", 'is pure'],
    ['core/control/a.ts', "import type { b } from '../../agent/b.ts';", 'core may import nothing'],
    ['core/a.ts', "export { b } from '../kernel/b.ts';", 'core may import nothing'],
    ['core/a.ts', "import {\n  b,\n  c,\n} from '../kernel/b.ts';", 'core may import nothing'],
    ['core/a.ts', "const b = await import('../kernel/b.ts');", 'core may import nothing'],
    ['core/a.ts', "import '../kernel/b.ts';", 'core may import nothing'],
    ['core/a.ts', "import { z } from 'zod';", 'is pure'],
    ['formats/a.ts', "import { b } from '../kernel/b.ts';", 'formats may import core'],
    ['replay/a.ts', "import { b } from '../kernel/twin.ts';", 'replay may import core, formats'],
    ['proof/a.ts', "import { b } from '../kernel/twin.ts';", 'proof may import core, sim'],
    ['agent/loop.ts', "import { b } from '../kernel/b.ts';", 'may import core'],
    ['agent/reconcile.ts', "import { b } from 'node:fs';", 'is pure'],
    ['agent/loop.ts', "import { b } from './watch.ts';", 'may import core only'],
    ['sim/a.ts', "import { b } from '../agent/watch.ts';", 'sim may import agent/loop.ts'],
    ['tools/a.ts', "import { b } from '../kernel/store.ts';", 'tools may import kernel/btf.ts'],
    ['lab/a.ts', "import koffi from 'koffi';", 'koffi is imported by'],
    ['kernel/map.ts', "import koffi from 'koffi';", 'koffi is imported by'],
    ['watch/a.ts', "import { b } from '../kernel/b.ts';", 'watch may import core, formats'],
    ['watch/watch.ts', "import { KubeConfig } from '@kubernetes/client-node';", 'imported by watch/connection.ts only'],
    ['replay/a.ts', "import { map } from 'rxjs/operators';", 'rxjs is imported by'],
    ['agent/loop.ts', "import { map } from 'rxjs/operators';", 'may import core'],
  ] as const;
  test.each(forbidden)('%s must not say %s', (path, text, message) => {
    const findings = checkDirections([{ path, text }]);
    expect(findings).toHaveLength(1);
    expect(findings[0]?.message).toContain(message);
  });

  const permitted = [
    ['core/control/a.ts', "import { b } from '../address.ts';"],
    ['kernel/libbpf.ts', "import koffi from 'koffi';"],
    ['agent/loop.ts', "import { b } from './reconcile.ts';"],
    ['sim/a.ts', "import { b } from '../agent/loop.ts';"],
    ['lab/a.ts', "import { b } from '../kernel/netns.ts';"],
    ['cli/a.ts', "import { b } from '../replay/run.ts';"],
    ['watch/connection.ts', "import { KubeConfig } from '@kubernetes/client-node/dist/config.js';"],
    ['watch/a.ts', "import { map } from 'rxjs/operators';"],
    ['agent/a.ts', "import { b } from '../watch/watch.ts';"],
    ['core/a.ts', "// import { b } from '../kernel/b.ts';"],
  ] as const;
  test.each(permitted)('%s may say %s', (path, text) => {
    expect(checkDirections([{ path, text }])).toEqual([]);
  });

  test('an import is found on its line', () => {
    const text = "// one\n\nimport {\n  a,\n} from './b.ts';\nimport type { c } from './d.ts';\n";
    expect(importsOf({ path: 'core/a.ts', text })).toEqual([
      { target: './b.ts', line: 5, dynamic: false, types: false },
      { target: './d.ts', line: 6, dynamic: false, types: true },
    ]);
  });
});

describe('import closures', () => {
  const sources = [
    {
      path: 'cli/replay.ts',
      text: "import { run } from '../replay/run.ts';\nimport type { T } from '../kernel/twin.ts';",
    },
    { path: 'replay/run.ts', text: "export { a } from './deep.ts';" },
    { path: 'replay/deep.ts', text: "const k = await import('../kernel/twin.ts');" },
    { path: 'kernel/twin.ts', text: "import koffi from 'koffi';" },
  ];

  test('types and dynamic imports do not load anything', () => {
    expect([...closureOf(sources, 'cli/replay.ts')].toSorted()).toEqual([
      'cli/replay.ts',
      'replay/deep.ts',
      'replay/run.ts',
    ]);
    expect(checkClosures(sources, ['cli/replay.ts'])).toEqual([]);
  });

  test('a static import of the kernel three files away is found', () => {
    const planted = [...sources, { path: 'replay/deep.ts', text: "import { t } from '../kernel/twin.ts';" }];
    expect(checkClosures(planted, ['cli/replay.ts']).map(({ message }) => message)).toEqual([
      'pulls in kernel/twin.ts: import it dynamically, behind a check',
      'pulls in koffi: import it dynamically, behind a check',
    ]);
  });

  test('dynamic imports of the kernel are listed', () => {
    expect(kernelDoors(sources)).toEqual(['replay/deep.ts -> kernel/twin.ts']);
  });
});
