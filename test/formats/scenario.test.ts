// SPDX-License-Identifier: Apache-2.0
/** The format of scenarios: what is read, and what failures say. */
import { describe, expect, test } from 'vitest';
import { failureText } from '../../core/result.ts';
import { cutScenario, joinScenario, readScenario } from '../../formats/scenario.ts';

const HEAD = 'What it shows.\nrules: A1, B2\n';
const CONFIG = '-- config --\nnodeName: node-a\n';
const OBJECTS = '-- objects --\nkind: Service\nmetadata: {name: web}\n---\nkind: Node\nmetadata: {name: node-a}\n';
const STEP = '-- step: it goes --\nevent: DELETED\nkind: Service\nmetadata: {name: web}\n';

function failure(text: string): string {
  const read = readScenario('file', text);
  return read.ok ? 'was read' : failureText(read.error);
}

test('a scenario is a sentence, rules, a configuration, objects, steps and what is expected after each', () => {
  const read = readScenario('file', `${HEAD}${CONFIG}${OBJECTS}-- table --\na\n${STEP}-- table --\n-- dump --\nb\n`);
  if (!read.ok) throw new Error(failureText(read.error));
  const { config, steps, ...rest } = read.value;
  expect(rest).toEqual({ name: 'file', what: 'What it shows.', rules: ['A1', 'B2'] });
  expect(config.nodeName).toBe('node-a');
  const service = { kind: 'Service', metadata: { name: 'web', namespace: 'default' } };
  const node = { kind: 'Node', metadata: { name: 'node-a' } };
  expect(steps).toEqual([
    {
      title: 'objects',
      events: [
        { type: 'ADDED', object: service },
        { type: 'ADDED', object: node },
      ],
      table: 'a\n',
      dump: undefined,
    },
    { title: 'it goes', events: [{ type: 'DELETED', object: service }], table: '', dump: 'b\n' },
  ]);
});

test('lists and lost watches are steps as well', () => {
  const lists = 'event: LISTED\nkind: Service\nitems: [{metadata: {name: web}}]\n';
  const read = readScenario(
    'file',
    `${HEAD}${CONFIG}${OBJECTS}-- step: x --\n${lists}---\nevent: DISCONNECTED\nkind: Pod\n`,
  );
  if (!read.ok) throw new Error(failureText(read.error));
  expect(read.value.steps[1]?.events).toEqual([
    { type: 'LISTED', kind: 'Service', items: [{ kind: 'Service', metadata: { name: 'web', namespace: 'default' } }] },
    { type: 'DISCONNECTED', kind: 'Pod', reason: '' },
  ]);
});

test('what was cut is put together again', () => {
  for (const text of ['', 'a', 'a\n', `${HEAD}${CONFIG}${OBJECTS}${STEP}`, `${HEAD}${CONFIG}-- objects --\n\n-- x --`])
    expect(joinScenario(cutScenario(text)).trimEnd()).toBe(text.trimEnd());
});

describe('what is wrong is said with its line:', () => {
  const cases: readonly (readonly [title: string, text: string, failure: string])[] = [
    ['no rules', `Words.\n${CONFIG}${OBJECTS}`, 'file: does not begin with a sentence and "rules: ..."'],
    ['no sentence', `rules: A1\n${CONFIG}${OBJECTS}`, 'file: does not begin with a sentence and "rules: ..."'],
    ['no configuration', HEAD + OBJECTS, 'file: the first section is not "config"'],
    [
      'a key that is none',
      `${HEAD}-- config --\nnodeNam: a\n${OBJECTS}`,
      'file line 4: unknown key nodeNam; did you mean nodeName?',
    ],
    ['no objects', HEAD + CONFIG, 'file: no section "objects"'],
    ['a step before them', HEAD + CONFIG + STEP, 'file line 5: "objects" comes first, and once'],
    ['two of them', HEAD + CONFIG + OBJECTS + OBJECTS, 'file line 11: "objects" comes first, and once'],
    ['a table before them', `${HEAD}${CONFIG}-- table --\n`, 'file line 5: "table" before any objects'],
    [
      'two tables',
      `${HEAD}${CONFIG}${OBJECTS}-- table --\n-- table --\n`,
      'file line 12: a second "table" of one step',
    ],
    ['another section', `${HEAD}${CONFIG}${OBJECTS}-- maps --\n`, 'file line 11: no such section: maps'],
    [
      'a step without an event',
      `${HEAD}${CONFIG}${OBJECTS}-- step: x --\nkind: Node\nmetadata: {name: a}\n`,
      'file line 12: event is not one of ADDED, MODIFIED, DELETED, LISTED, DISCONNECTED: undefined',
    ],
    [
      'a kind that is not read',
      `${HEAD}${CONFIG}-- objects --\nkind: Ingress\n`,
      'file line 6: a kind that is not read: Ingress',
    ],
    [
      'an object without a name',
      `${HEAD}${CONFIG}-- objects --\nkind: Node\n`,
      'file line 6: a Node without metadata.name',
    ],
    [
      'a list of nothing',
      `${HEAD}${CONFIG}${OBJECTS}-- step: x --\nevent: LISTED\nkind: Node\n`,
      'file line 12: "items" is not a list',
    ],
    ['no object', `${HEAD}${CONFIG}-- objects --\n- a\n`, 'file line 6: not an object'],
    [
      'no YAML',
      `${HEAD}${CONFIG}-- objects --\na: {\n`,
      'file line 7: Flow map in block collection must be sufficiently indented and end with a }',
    ],
  ];
  test.each(cases)('%s', (_, text, expected) => {
    expect(failure(text)).toBe(expected);
  });
});
