// SPDX-License-Identifier: Apache-2.0
/** Where mechanical mutants strike, that a seed draws the same ones, and how a table of them is judged; no kernel. */
import { describe, expect, test } from 'vitest';
import { twinnedHeaders } from '../../cli/mechanical.ts';
import { bodiesOf, statementsOf, tokensOf } from '../../proof/mutants/ctokens.ts';
import { fateLine, isTrusted, killerOf, tableText, type Fate, type Judged } from '../../proof/mutants/fates.ts';
import { Draw, mutantsOf, plantMechanical, type MechanicalMutant } from '../../proof/mutants/mechanical.ts';
import { changesOf, operatorNames } from '../../proof/mutants/operators.ts';
import type { Finding } from '../../proof/steps.ts';
import { argued } from '../../proof/mutants/survivors.ts';

const headers = twinnedHeaders();
const all = headers.flatMap(mutantsOf);

/** `old -> new` of every change of a function body. */
function changed(body: string): readonly string[] {
  return changesOf(`static int f(int a)\n{\n${body}\n}\n`).map((change) => `${change.old} -> ${change.new}`);
}

describe('our C', () => {
  test('is read without comments, directives and what continues them, at the places where it stands', () => {
    const text = '/* a\n# b */ int x; // c\n#define D(e) \\\n\t(e)\nf("g // h");\n';
    const tokens = tokensOf(text);
    expect(tokens.map((token) => token.text)).toEqual(['int', 'x', ';', 'f', '(', '"g // h"', ')', ';']);
    expect(tokens.map(({ at, text: it }) => text.startsWith(it, at))).not.toContain(false);
    expect(tokens.map(({ line }) => line)).toEqual([2, 2, 2, 5, 5, 5, 5, 5]);
  });

  test('has functions; types and data are none', () => {
    const text = 'struct s { int a; };\nenum e { A = 1 };\nint d[] = { 1 };\nint f(int b)\n{\n\treturn b;\n}\n';
    expect(bodiesOf(tokensOf(text)).map(({ name }) => name)).toEqual(['f']);
  });

  test('has statements, and those of branches and loops are known', () => {
    const [body] = bodiesOf(tokensOf('int f(void)\n{\na = b;\nif (a)\nreturn 1;\nfor (;;) { c(); }\nreturn 0;\n}\n'));
    const tokens = body?.tokens ?? [];
    const said = statementsOf(tokens).map(({ first, nested }) => `${tokens[first]?.text} ${nested}`);
    expect(said).toEqual(['a false', 'return true', 'c true', 'return false']);
  });

  test('has statements behind labels', () => {
    const [body] = bodiesOf(tokensOf('int f(void)\n{\nswitch (a) {\ncase X:\nb = 1;\ndefault:\nout:\nc();\n}\n}\n'));
    const tokens = body?.tokens ?? [];
    expect(statementsOf(tokens).map(({ first }) => tokens[first]?.text)).toEqual(['b', 'c']);
  });
});

describe('a change', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['b = x < y;', ['b = x < y; -> nothing', '< -> <=', '< -> >=']],
    ['b = x == y;', ['b = x == y; -> nothing', '== -> !=']],
    ['b = !x && y;', ['b = !x && y; -> nothing', '! -> nothing', '&& -> ||']],
    ['b = x->c - -y;', ['b = x->c - -y; -> nothing', '- -> +']],
    ['b = (__u32)-y;', ['b = (__u32)-y; -> nothing']],
    ['b = &x;', ['b = &x; -> nothing']],
    ['b = x & ~y;', ['b = x & ~y; -> nothing', '& -> |', '~ -> nothing']],
    ['b <<= x;', ['b <<= x; -> nothing', '<<= -> >>=']],
    ['c(0x1fu);', ['c(0x1fu); -> nothing', '0x1fu -> 0x20u', '0x1fu -> 0x1eu', '0x1fu -> 0x0u']],
    ['c(1);', ['c(1); -> nothing', '1 -> 2', '1 -> 0']],
    ['c(0);', ['c(0); -> nothing', '0 -> 1']],
    ['c(LIMIT);', ['c(LIMIT); -> nothing', 'LIMIT -> (LIMIT + 1)', 'LIMIT -> (LIMIT - 1)', 'LIMIT -> 0']],
    ['return true;', ['true -> false']],
    ['if (x)\nreturn y;', ['x -> !(x)', 'return y; -> nothing']],
    ['if (!x)\nreturn y;', ['! -> nothing', 'return y; -> nothing']],
    ['int b = 1;', ['1 -> 2', '1 -> 0']],
  ];
  test.each(cases)('of %j is one of a kind', (code, wanted) => {
    expect(changed(code)).toEqual(wanted);
  });

  const leftOut: readonly (readonly [string, string])[] = [
    ['a comment', '/* a = 1; */'],
    ['a string', 'return "1 < 2";'],
    ['a directive', '#pragma unroll(3)'],
    ['a declaration', 'struct s b[2], *c;'],
    ['a mark', 'MARK(FIN);'],
    ['a line of the log', 'log_write(WRITE_SEEN, a + 1, 0, 0);'],
    ['a hint to the compiler', 'HIDE(a);'],
    ['a branch of test mode', 'if (TEST_MODE) {\nb = 1;\n}'],
    ['its negation', 'if (!TEST_MODE)\nb = 1;'],
    ['a call of a macro named in capitals', 'return READ_ONCE(a);'],
  ];
  test.each(leftOut)('of %s is none', (_, code) => {
    expect(changed(code)).toEqual([]);
  });

  test('is one of the text, by a key of its own that does not hold its line number', () => {
    const texts = new Map(headers.map(({ name, text }) => [name, text]));
    const same = all.filter(
      (mutant) => plantMechanical(mutant, texts.get(mutant.header) ?? '') === texts.get(mutant.header),
    );
    expect(same).toEqual([]);
    expect(new Set(all.map(({ key }) => key)).size).toBe(all.length);
    const [first] = headers;
    const moved = first === undefined ? [] : mutantsOf({ ...first, text: `\n\n${first.text}` });
    expect(moved.map(({ key }) => key)).toEqual(first === undefined ? [] : mutantsOf(first).map(({ key }) => key));
  });
});

describe('the draw', () => {
  const drawn = (seed: number, count: number): readonly MechanicalMutant[] => {
    const draw = new Draw(headers, seed);
    return Array.from({ length: count }, () => draw.next()).filter((mutant) => mutant !== undefined);
  };
  const keys = (mutants: readonly MechanicalMutant[]): readonly string[] => mutants.map(({ key }) => key);

  test('is repeated by its seed, and another seed draws others', () => {
    expect(keys(drawn(7, 200))).toEqual(keys(drawn(7, 200)));
    expect(keys(drawn(7, 200)).filter((key) => keys(drawn(8, 200)).includes(key)).length).toBeLessThan(60);
  });

  test('of two hundred has some of every header and of every operator, none twice', () => {
    const mutants = drawn(1, 200);
    expect(new Set(keys(mutants)).size).toBe(200);
    for (const { name } of headers) expect(mutants.filter(({ header }) => header === name).length).toBeGreaterThan(2);
    for (const name of operatorNames)
      expect(mutants.filter(({ operator }) => operator === name).length).toBeGreaterThan(10);
  });

  test('ends when all are drawn', () => {
    expect(keys(drawn(1, all.length + 5)).toSorted()).toEqual(keys(all).toSorted());
  });

  test('replaces one by another of its header and operator', () => {
    const draw = new Draw(headers, 1);
    const first = draw.next();
    const other = first === undefined ? undefined : draw.instead(first);
    expect([other?.header, other?.operator]).toEqual([first?.header, first?.operator]);
    expect(other?.key).not.toBe(first?.key);
  });
});

describe('the table', () => {
  const [mutant] = all;
  if (mutant === undefined) throw new Error('there are headers with twins');
  const finding: Finding = {
    field: 'trace[2]',
    model: 'fin',
    kernel: 'reset',
    service: 'none',
    packet: 'from-pod 10.2.0.2:1 > 10.96.0.1:1 TCP SYN',
    step: 3,
  };
  const found: Fate = { kind: 'hunted', seed: 1, packets: 17, finding, steps: 2 };
  const survives: Fate = { kind: 'hunted', seed: 9, packets: 60_000, finding: undefined, steps: undefined };
  const rows = (killed: number, survivors: number): readonly Judged[] => [
    ...Array.from({ length: killed }, () => ({ mutant, fate: found })),
    ...Array.from({ length: survivors }, () => ({ mutant, fate: survives })),
  ];
  const report = (judged: readonly Judged[], control: Fate = survives) => ({
    possible: all.length,
    judged,
    replaced: { uncompiled: 0, same: 0 },
    control,
  });

  test('says who found a mutant: by what was reported, and a report that is no evidence finds nothing', () => {
    expect(killerOf(found)).toBe('marks');
    expect(killerOf({ kind: 'verifier', why: 'R0' })).toBe('verifier');
    expect(killerOf({ kind: 'crash', why: 'SIGSEGV' })).toBe('crash');
    expect(killerOf({ ...found, finding: { ...finding, kernel: 'fin' } })).toBeUndefined();
    expect(killerOf(survives)).toBeUndefined();
    expect(fateLine({ mutant, fate: found })).toContain(`${mutant.header}:${mutant.line}`);
  });

  test('is believed with enough found, or with every survivor argued, and never where the control has a finding', () => {
    expect(isTrusted(report(rows(95, 5)), {})).toBe(true);
    expect(isTrusted(report(rows(94, 6)), {})).toBe(false);
    expect(isTrusted(report(rows(94, 6)), { [mutant.key]: 'because' })).toBe(true);
    expect(isTrusted(report(rows(100, 0), found), {})).toBe(false);
    expect(isTrusted(report([]), {})).toBe(false);
    const refused: readonly Judged[] = Array.from({ length: 900 }, () => ({
      mutant,
      fate: { kind: 'verifier', why: '' },
    }));
    expect(isTrusted(report([...refused, ...rows(94, 6)]), {}), 'what the verifier refuses does not count').toBe(false);
  });

  test('says of a control in which something is found what that was and by which seed', () => {
    expect(tableText(report([], found), {}, 1)).toContain(
      'trace[2] DIFFERS in the campaign of seed 1: model fin, kernel',
    );
  });

  test('prints survivors with their argument or says that there is none', () => {
    expect(tableText(report(rows(1, 1)), {}, 1)).toContain(`${mutant.key}\n    NOT ARGUED`);
    expect(tableText(report(rows(1, 1)), { [mutant.key]: 'because' }, 1)).toContain(`${mutant.key}\n    because`);
  });

  test('argues only for mutants that there are', () => {
    const keys = new Set(all.map(({ key }) => key));
    expect(Object.keys(argued).filter((key) => !keys.has(key))).toEqual([]);
  });
});
