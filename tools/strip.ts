// SPDX-License-Identifier: Apache-2.0
/** Sources as a release has them: types taken out, line by line, so that Node runs them without looking for any. */
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';

/** `from './x.ts'`, and the same of an import by itself. */
const IMPORT = /(\b(?:from|import)\s*\(?\s*'\.{1,2}\/[^']*)\.ts'/g;

/** Writes every source of these rooms of `root` to the same place below `to`, as modules of JavaScript. */
export function stripRooms(root: string, rooms: readonly string[], to: string): void {
  for (const room of rooms) {
    for (const path of globSync(`${room}/**/*.ts`, { cwd: root })) {
      const source = readFileSync(join(root, path), 'utf8');
      const target = join(to, path.replace(/\.ts$/, '.js'));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, stripTypeScriptTypes(source).replaceAll(IMPORT, "$1.js'"));
    }
  }
  writeFileSync(join(to, 'package.json'), '{ "type": "module" }\n');
}
