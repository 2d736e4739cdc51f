// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { checkTwins, compareTwins, functionsOfC, functionsOfTypescript, marksOf } from './twins.ts';

const header = `/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* select.h: the choice; twin of core/datapath/select.ts. MARK_IN_A_COMMENT */
#define MARK(name) mark(MARK_##name)
struct select_input {
	__u32 words[8];
};

static __always_inline __u32 select_slot(__u32 hash, const struct view *view)
{
	return view->first_slot;
}

__noinline enum verdict select_backend(struct service *service, enum view_index view,
				       const struct select_input *input, backend_id *id)
{
	if (!service) {
		MARK(SLOT_MISSING);
		return 0;
	}
	choice->mark = other ? MARK_INSERT_SECOND : MARK_INSERT_FIRST;
	return 1;
}
`;
const model = `// SPDX-License-Identifier: Apache-2.0
/** The choice; [twin] of bpf/select.h. */
import { MARK_INSERT_FIRST, MARK_INSERT_SECOND, MARK_SLOT_MISSING } from '../layout.gen.ts';

/** A slot. */
export function selectSlot(hash: number, view: View): number {
  return view.firstSlot;
}

function selectBackend(service: Service | undefined): Verdict {
  if (service === undefined) {
    mark(MARK_SLOT_MISSING);
    return 0;
  }
  choice.mark = other ? MARK_INSERT_SECOND : MARK_INSERT_FIRST;
  return 1;
}
`;
const pair = [
  { path: 'bpf/select.h', text: header },
  { path: 'core/datapath/select.ts', text: model },
] as const;

describe('twins', () => {
  test('functions of both languages are found in order', () => {
    expect(functionsOfC(header)).toEqual(['select_slot', 'select_backend']);
    expect(functionsOfTypescript(model)).toEqual(['selectSlot', 'selectBackend']);
  });

  test('marks of both languages are found in order, imports and comments left out', () => {
    const marks = ['SLOT_MISSING', 'INSERT_SECOND', 'INSERT_FIRST'];
    expect(marksOf(header)).toEqual(marks);
    expect(marksOf(model)).toEqual(marks);
  });

  test('a mark is the same in every spelling', () => {
    expect(marksOf("mark('slot-missing'); trace.mark(Mark.SlotMissing); mark(Mark.SLOT_MISSING);")).toEqual([
      'SLOT_MISSING',
      'SLOT_MISSING',
      'SLOT_MISSING',
    ]);
  });

  test('equal twins are equal', () => {
    expect(compareTwins(...pair)).toEqual([]);
  });

  const faults = [
    ['a function renamed', 'selectSlot(', 'chooseSlot(', 'function 1 is chooseSlot, but selectSlot in bpf/select.h'],
    ['a function less', 'function selectBackend', 'const unused = 1; //', 'function 2 is nothing, but selectBackend'],
    ['a function more', 'function selectBackend', 'function extra() {}\nfunction selectBackend', 'function 2 is extra'],
    ['a mark forgotten', 'mark(MARK_SLOT_MISSING);', '', 'mark 1 is INSERT_SECOND, but SLOT_MISSING'],
    ['marks swapped', 'MARK_INSERT_SECOND : MARK_INSERT_FIRST', 'MARK_INSERT_FIRST : MARK_INSERT_SECOND', 'mark 2 is'],
    ['a mark more at the end', '  return 1;', '  mark(MARK_SELECTED);\n  return 1;', 'mark 4 is SELECTED, but nothing'],
  ] as const;
  test.each(faults)('%s is found', (_name, from, to, message) => {
    const planted = { path: pair[1].path, text: model.replace(from, to) };
    expect(planted.text).not.toBe(model);
    expect(compareTwins(pair[0], planted)[0]?.message).toContain(message);
  });

  test('what only one language needs is left out by name', () => {
    const planted = { path: pair[1].path, text: `${model}\nfunction onlyHere(): void {}\n` };
    expect(compareTwins(pair[0], planted)).toHaveLength(1);
    const singles = { 'core/datapath/select.ts': { onlyHere: 'a reason' } };
    expect(compareTwins(pair[0], planted, singles)).toEqual([]);
    expect(compareTwins(...pair, singles)[0]?.message).toContain('has no function onlyHere any more');
  });

  test('a missing twin is a fault once the datapath is composed', () => {
    const composed = { path: 'core/datapath/datapath.ts', text: '' };
    expect(checkTwins([pair[0]])).toEqual([]);
    const messages = checkTwins([pair[0], composed]).map(({ path }) => path);
    expect(messages).toContain('bpf/select.h');
    expect(messages).toContain('bpf/nat.h');
    expect(checkTwins([...pair, composed]).map(({ path }) => path)).not.toContain('bpf/select.h');
  });
});
