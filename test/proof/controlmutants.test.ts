// SPDX-License-Identifier: Apache-2.0
/** Mutants of the control plane: where they strike, how one is judged and counted, and a few drawn by the commit. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIRST_ROUND, ROUNDS, runControl } from '../../cli/controlmutants.ts';
import { Judge } from '../../cli/judges.ts';
import { changesOf, operatorNames } from '../../proof/control/changes.ts';
import { CONTROL_FILES, drawMutants, mutantsOf, type ControlFile, type DrawnMutant } from '../../proof/control/draw.ts';
import { plantFault, type ControlFault } from '../../proof/control/fault.ts';
import {
  controlText,
  isKilled,
  isTrusted,
  killerText,
  type ControlFate,
  type ControlReport,
} from '../../proof/control/fates.ts';
import { controlFaults } from '../../proof/control/faults/faults.ts';
import { argued } from '../../proof/control/survivors.ts';
import { tokensOf, withoutTypes } from '../../proof/control/tokens.ts';
import { isFull } from '../full.ts';
import { commitHash } from './rigs.ts';

const FULL_TIMEOUT_MS = 1_500_000;
const TIMEOUT_MS = 120_000;
/** A loop without end is told after so much time of the processor. */
const TEST_CPU_MS = 2_000;

let judge: Judge;
let files: readonly ControlFile[] = [];
let all: readonly DrawnMutant[] = [];
beforeAll(() => {
  judge = new Judge(TEST_CPU_MS);
  files = CONTROL_FILES.map((name) => ({ name, text: judge.textOf(name) }));
  all = files.flatMap(mutantsOf);
});
afterAll(() => judge.end());

describe('our TypeScript', () => {
  test('is read without types and comments, at the places where it stands', () => {
    const text = 'const a: Map<string, X> = /[/]"/.exec(`b${`c` + "}"}`) as X; // d\nx /= 2 / 1;';
    const code = withoutTypes(text) ?? '';
    const tokens = tokensOf(code);
    expect(tokens.map((token) => token.text)).toEqual([
      ...['const', 'a', '=', '/[/]"/', '.', 'exec', '(', '`b${`c` + "}"}`', ')', ';'],
      ...['x', '/=', '2', '/', '1', ';'],
    ]);
    expect(tokens.filter(({ at, text: it }) => !text.startsWith(it, at))).toEqual([]);
  });

  test('that is none is told', () => {
    expect(withoutTypes('const a = ;')).toBeUndefined();
    expect(changesOf('const a = ;')).toEqual([]);
  });
});

describe('a change', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['x = a < b;', ['< -> <=']],
    ['x = a === b && !c;', ['=== -> !==', '&& -> ||', '! -> nothing']],
    ['x = true;', ['true -> false']],
    ['x = a - -b + c;', ['- -> +', '+ -> -']],
    ['x = a | 0x1f;', ['| -> &', '0x1f -> 0x20', '0x1f -> 0x1e']],
    ['x = 1_000n;', ['1_000n -> 1001n', '1_000n -> 999n']],
    ['x = 0;', ['0 -> 1']],
    ['x = list.some(f) ? min(a) : b;', ['some -> every', 'min(a) : b -> b : min(a)']],
    ['x = a > b ? 1 : -1;', ['> -> >=', '1 : -1 -> -1 : 1', '1 -> 0', '1 -> 0']],
    ['x = a ? b : c ? d : e;', ['b : c ? d : e -> c ? d : e : b', 'd : e -> e : d']],
  ];
  test.each(cases)('of %j is one of a kind', (code, wanted) => {
    const found = changesOf(`function f() { let x; for (;;) ${code} }`).map((it) => `${it.old} -> ${it.new}`);
    expect(found).toEqual([`${code} -> nothing`, `${code} -> return;`, ...wanted]);
  });

  test('of a branch negates its condition where no operator of its own turns it round, and drops its jump', () => {
    const found = changesOf(
      'function f() {\n  for (;;) {\n    if (a.b(c)) return d;\n    if (e < f) continue;\n    return g;\n  }\n}',
    );
    expect(found.map((it) => `${it.old} -> ${it.new}`)).toEqual([
      'a.b(c) -> !(a.b(c))',
      'return d; -> nothing',
      '< -> <=',
      'continue; -> nothing',
    ]);
  });

  const leftOut = ['// a < b', "'a < b'", '`${a < b}`', 'assert(a < b);', "import { a } from 'b';", 'type A = 1 | 2;'];
  test.each(leftOut)('of %j is none', (code) => {
    expect(changesOf(`${code}\n`)).toEqual([]);
  });

  test('is one of the text, by a key of its own that does not hold its line number', () => {
    expect(new Set(all.map(({ key }) => key)).size).toBe(all.length);
    const [first] = files;
    const keys = first === undefined ? [] : mutantsOf(first).map(({ key }) => key);
    expect(first === undefined ? [] : mutantsOf({ ...first, text: `\n${first.text}` }).map(({ key }) => key)).toEqual(
      keys,
    );
    expect(keys.length).toBeGreaterThan(10);
  });
});

describe('the draw', () => {
  test('of two hundred is repeated by its seed and has some of every file and operator, none twice', () => {
    const drawn = drawMutants(files, 1, 200);
    const keys = drawn.map(({ key }) => key);
    expect(drawMutants(files, 1, 200).map(({ key }) => key)).toEqual(keys);
    expect(drawMutants(files, 2, 200).filter(({ key }) => keys.includes(key)).length).toBeLessThan(60);
    expect(new Set(keys).size).toBe(200);
    expect(new Set(drawn.map(({ file }) => file)).size).toBe(CONTROL_FILES.length);
    expect(new Set(drawn.map(({ operator }) => operator)).size).toBe(operatorNames.length);
  });

  test('ends when all are drawn', () => {
    const last = files.filter(({ name }) => name === 'affected.ts');
    const possible = last.flatMap(mutantsOf).length;
    expect(possible).toBeGreaterThan(5);
    expect(drawMutants(last, 1, 10_000)).toHaveLength(possible);
  });
});

describe('a mutant that is judged', () => {
  const views = 'views.ts';
  const asked = (find: string, replace: string): Promise<ControlFate> => {
    const text = judge.textOf(views);
    expect(text.split(find)).toHaveLength(2);
    return judge.ask({ file: views, text: text.replace(find, replace) }, [
      { seed: 1, files: ['test/scenarios/scenarios.test.ts'] },
    ]);
  };
  const MASQUERADE = "const both = view(lists.cluster, 'always');";

  test('survives where it changes nothing', { timeout: TIMEOUT_MS }, async () => {
    expect(await asked(MASQUERADE, `/* the same */ ${MASQUERADE}`)).toMatchObject({ kind: 'survives' });
  });

  test('is found by a test that expects something else, which is named', { timeout: TIMEOUT_MS }, async () => {
    const fate = await asked(MASQUERADE, MASQUERADE.replace('always', 'never'));
    expect(fate.kind).toBe('unmet');
    expect(killerText(fate)).toMatch(/^scenario [\w-]+, as told$/);
  });

  test(
    'is found where it throws, has no end or takes the process down, and that is told',
    { timeout: TIMEOUT_MS },
    async () => {
      expect(await asked(MASQUERADE, `null.never; ${MASQUERADE}`)).toMatchObject({ kind: 'thrown' });
      expect(await asked(MASQUERADE, `for (;;); ${MASQUERADE}`)).toMatchObject({ kind: 'endless' });
      const grows = `const all = []; for (;;) all.push(new Array(1e6).fill({})); ${MASQUERADE}`;
      expect((await asked(MASQUERADE, grows)).kind).toMatch(/crash|endless/);
      expect(await asked(MASQUERADE, `process.kill(process.pid, 'SIGSEGV'); for (;;); ${MASQUERADE}`)).toMatchObject({
        kind: 'crash',
        why: 'ended by SIGSEGV',
      });
    },
  );

  test('is not tried where it is no program, and the copy is as it was', { timeout: TIMEOUT_MS }, async () => {
    const before = judge.textOf(views);
    expect(await asked(MASQUERADE, 'const const;')).toMatchObject({ kind: 'failed' });
    expect(judge.textOf(views)).toBe(before);
  });
});

describe('written faults', () => {
  test('fit the code, each by a name of its own', () => {
    const misfits = controlFaults.flatMap((fault) => {
      const planted = plantFault(fault, judge.textOf(fault.file));
      if (!planted.ok) return [planted.error.message];
      return withoutTypes(planted.value) === undefined ? [`${fault.name} is no program`] : [];
    });
    expect(misfits).toEqual([]);
    expect(new Set(controlFaults.map(({ name }) => name)).size).toBe(controlFaults.length);
    expect(controlFaults.length).toBeGreaterThanOrEqual(60);
    expect(controlFaults.filter(({ killer }) => killer === '')).toEqual([]);
  });

  test('that no longer fit are told', () => {
    const [fault] = controlFaults;
    expect(fault === undefined || plantFault(fault, 'nothing').ok).toBe(false);
  });
});

describe('the table', () => {
  const [fault] = controlFaults;
  if (fault === undefined) throw new Error('there are written faults');
  const passed: ControlFate = { kind: 'survives', tests: 1_000, durationMs: 1 };
  const by = (killer: string, kind: 'unmet' | 'thrown' = 'unmet'): ControlFate => {
    const test = killer.includes(' › ') ? killer : `test/scenarios/scenarios.test.ts › ${killer} › as told`;
    return { kind, test, why: '1 toBe 2', durationMs: 1_500 };
  };
  const report = (killed: number, survivors: number, faults: ControlReport['faults'] = []): ControlReport => {
    const [mutant] = all;
    if (mutant === undefined) throw new Error('there are mutants');
    const drawn = [
      ...Array.from({ length: killed }, () => ({ mutant, fate: by('any') })),
      ...Array.from({ length: survivors }, () => ({ mutant, fate: passed })),
    ];
    return { faults, drawn, possible: all.length, seed: 1, control: passed };
  };
  const keyed = (): Record<string, string> => ({ [all[0]?.key ?? '']: 'because' });

  test('is believed with enough found, or every survivor argued, and never where tests fail without a fault', () => {
    expect(isTrusted(report(95, 5), {})).toBe(true);
    expect(isTrusted(report(94, 6), {})).toBe(false);
    expect(isTrusted(report(94, 6), keyed())).toBe(true);
    expect(isTrusted({ ...report(100, 0), control: by('any') }, {})).toBe(false);
    expect(isTrusted(report(0, 0), {})).toBe(false);
  });

  test('is believed of written faults only where whom they name found them', () => {
    expect(isTrusted(report(0, 0, [{ fault, fate: by(fault.killer) }]), {})).toBe(true);
    expect(isTrusted(report(0, 0, [{ fault, fate: by('another-scenario') }]), {})).toBe(false);
    expect(isTrusted(report(0, 0, [{ fault, fate: passed }]), {})).toBe(false);
    const other: ControlFault = { ...fault, killer: 'test/agent/loop.test.ts › a law' };
    expect(isTrusted(report(0, 0, [{ fault: other, fate: by(other.killer, 'thrown') }]), {})).toBe(true);
  });

  test('says who found what, and prints survivors with their argument or says that there is none', () => {
    expect(controlText(report(1, 0, [{ fault, fate: by('other') }]), {})).toContain(
      `scenario other, as told, NOT BY ${fault.killer}`,
    );
    expect(controlText(report(1, 1), {})).toContain('NOT ARGUED');
    expect(controlText(report(1, 1), keyed())).toContain('\n    because');
    expect(killerText(by('test/agent/loop.property.test.ts › a law', 'thrown'))).toBe('agent/loop: a law (thrown)');
  });

  test('argues only for mutants that there are', () => {
    const keys = new Set(all.map(({ key }) => key));
    expect(Object.keys(argued).filter((key) => !keys.has(key))).toEqual([]);
  });
});

describe('mutants of the control plane', () => {
  const number = Number.parseInt(commitHash().slice(0, 8), 16);
  const seed = isFull ? 1 : number;
  const few = Array.from({ length: 3 }, (_, index) => controlFaults[(number + index * 41) % controlFaults.length]!);
  const [faults, count, rounds, survivorsMax] = isFull
    ? ([controlFaults, 200, ROUNDS, 10] as const)
    : ([few, 3, FIRST_ROUND, 2] as const);

  test(
    `of seed ${seed}: ${faults.length} written and ${count} drawn ones are found`,
    { timeout: FULL_TIMEOUT_MS },
    async () => {
      const report = await runControl({ faults, count, seed, rounds });
      const table = controlText(report, argued);
      expect(report.control, table).toMatchObject({ kind: 'survives' });
      expect(
        report.drawn.filter(({ fate }) => fate.kind === 'failed'),
        table,
      ).toEqual([]);
      expect(report.drawn, table).toHaveLength(count);
      const open = report.drawn.filter(({ mutant, fate }) => !isKilled(fate) && !(mutant.key in argued));
      expect(open.length, table).toBeLessThanOrEqual(survivorsMax);
      expect(isTrusted({ ...report, drawn: [] }, {}), table).toBe(true);
      if (isFull) expect(isTrusted(report, argued), table).toBe(true);
      if (isFull) process.stdout.write(`${table}\n`);
    },
  );
});
