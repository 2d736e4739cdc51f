// SPDX-License-Identifier: Apache-2.0
/** The report of a replay begins with where to look, and shows first what is not permitted. */
import { describe, expect, test } from 'vitest';
import { reportText } from '../../replay/report.ts';
import { summarize } from '../../replay/summary.ts';
import { icmpError, tcp } from './packets.ts';
import {
  CLIENT,
  CLIENT_DEVICE,
  cluster,
  connection,
  eventLine,
  LOCAL,
  on,
  REMOTE,
  replayFrames,
  SERVICE,
  setting,
  slice,
  UPLINK,
  type Frame,
} from './recording.ts';

const opening = (clientPort: number): Uint8Array =>
  tcp({ from: `${CLIENT}:${clientPort}`, to: `${SERVICE}:80`, flags: 'S', sequence: 5, identification: 10 });

describe('the verdict tells where to look', () => {
  const gone = eventLine(500, 'MODIFIED', slice([REMOTE]));
  const verdictOf = (frames: readonly Frame[], streams = cluster([LOCAL, REMOTE], gone)): readonly string[] => {
    const { tally } = replayFrames(frames, streams);
    const text = reportText({
      tally,
      summary: summarize(tally, setting),
      setting,
      events: streams.events,
      command: 'x',
    });
    const [, ...rest] = text.split('\n');
    return rest.slice(0, rest.indexOf(''));
  };
  const good = connection(100, 4242, LOCAL);
  const late = connection(750, 4243, LOCAL);
  const wrong = connection(800, 4244, '10.244.2.99');

  test.each([
    [
      'all is permitted',
      [...good, on(900, CLIENT_DEVICE, 'incoming', opening(5555))],
      'neither datapath nor control plane: all 1 connections judged, of 2, are permitted; look at the network or the application',
    ],
    [
      'a change came late',
      [...good, ...late],
      'control plane late: 1 of 2 connections, up to 250.0 ms after the event',
    ],
    [
      'something was never permitted',
      [...good, ...late, ...wrong],
      'datapath wrong, or its control plane dead for 60 s: 1 of 3 connections; 1 more are late',
    ],
    ['nobody asked', [], 'none: no pod of this node asked for a Service'],
    [
      'nothing can be judged',
      [on(100, CLIENT_DEVICE, 'incoming', opening(5555))],
      'none: no connection can be judged by this build: not-seen-again 1',
    ],
  ])('where %s', (_what, frames, text) => {
    expect(verdictOf(frames)).toEqual([`verdict: ${text}`]);
  });

  test('and what speaks against it', () => {
    const stranger = tcp({ from: '192.0.2.7:1', to: '192.0.2.8:2', flags: '.' });
    expect(verdictOf([...good, on(300, UPLINK, 'incoming', stranger)], cluster([LOCAL], gone, '{"at":'))).toEqual([
      expect.stringContaining('neither'),
      '  doubtful: too many frames could not be attributed (captures of another node want its own --node), not everything could be read or programmed',
    ]);
  });

  test('and what is not permitted comes first, however much there is besides', () => {
    const refused = Array.from({ length: 40 }, (_, index) => [
      on(100 + index, CLIENT_DEVICE, 'incoming', opening(5000 + index)),
      on(100.1 + index, CLIENT_DEVICE, 'outgoing', icmpError('10.244.1.1', opening(5000 + index), 3, 3)),
    ]).flat();
    const { tally } = replayFrames([...refused, ...connection(800, 4244, REMOTE)], cluster([]));
    const text = reportText({ tally, summary: summarize(tally, setting), setting, events: [], command: 'x' });
    expect(text).toMatch(/connections that matter: 41\n.*4244.*\n.*never permitted/);
  });
});
