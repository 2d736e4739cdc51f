// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { LINK_ETHERNET, LINK_LINUX_COOKED_V2 } from '../../formats/link.ts';
import { createAnnotator, type FrameWriter } from '../../replay/annotate.ts';
import { replay } from '../../replay/run.ts';
import {
  captureOf,
  cluster,
  connection,
  eventLine,
  facts,
  LOCAL,
  modelTwin,
  REMOTE,
  slice,
  type Frame,
} from './recording.ts';

type Written = Parameters<FrameWriter['write']>[0];

/** What would be written, and how much waited at most. */
function annotated(frames: readonly Frame[]): { written: readonly Written[]; names: readonly string[]; most: number } {
  const written: Written[] = [];
  const names: string[] = [];
  let taken = 0;
  let most = 0;
  const annotator = createAnnotator({
    addInterface: ({ linkType, name = '' }) => names.push(`${name} ${linkType}`) - 1,
    write: (frame) => void written.push(frame),
  });
  replay({
    captures: [captureOf(frames)],
    streams: cluster([LOCAL], eventLine(1000, 'MODIFIED', slice([REMOTE]))),
    facts,
    oracle: { nodeName: 'node1', nodeAddresses: facts.addresses },
    model: modelTwin(),
    kernel: undefined,
    onLine: annotator.line,
    watch: {
      record: (file, record, timeNs) => {
        annotator.watch.record?.(file, record, timeNs);
        taken += 1;
        most = Math.max(most, taken - written.filter(({ interfaceId }) => interfaceId === 0).length);
      },
    },
  });
  annotator.finish();
  return { written, names, most };
}

const late = [...connection(100, 4001, LOCAL), ...connection(1500, 4002, LOCAL)];

test('every frame is there, in order, and behind those at a hook what the model sends', () => {
  const { names, written } = annotated(late);
  expect(names).toEqual([`node1.pcap ${LINK_LINUX_COOKED_V2}`, `model ${LINK_ETHERNET}`]);
  expect(written.filter(({ interfaceId }) => interfaceId === 0)).toHaveLength(late.length);
  const times = written.map(({ nanoseconds, seconds }) => seconds * 1e9 + nanoseconds);
  expect(times).toEqual([...times].sort((left, right) => left - right));
  expect(written[1]).toMatchObject({
    interfaceId: 1,
    comments: ['tandem: frame 1 of node1.pcap as the model sends it'],
  });
});

test('comments say what was found of the packet, on the frame that asked and on the one that shows it again', () => {
  const own = annotated(late).written.filter(({ interfaceId }) => interfaceId === 0);
  expect(own[0]?.comments).toEqual([
    'tandem: frame 1 of node1.pcap, from-pod, shop/web:http: the model forward 10.244.1.9:8080 (new-flow)',
    'tandem: observed forward 10.244.1.9:8080, frame 2',
    'tandem: permitted',
  ]);
  expect(own[1]?.comments?.at(-1)).toBe('tandem: frame 2 of node1.pcap shows frame 1 again, 0.020 ms later');
  expect(own[14]?.comments).toContain('tandem: stale: 500.0 ms after EndpointSlice shop/web-1 MODIFIED (line 3)');
});

test('no more waits than can still be seen again', () => {
  const many = Array.from({ length: 20 }, (_, index) => connection(100 + index * 1000, 4001 + index, LOCAL)).flat();
  const { most, written } = annotated(many);
  expect(written.filter(({ interfaceId }) => interfaceId === 0)).toHaveLength(many.length);
  expect(most).toBeLessThan(60);
});
