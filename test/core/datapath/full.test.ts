// SPDX-License-Identifier: Apache-2.0
/** What holds however full the flow table is: whatever is forwarded can be answered, and by the Service asked. */
import { expect, test } from 'vitest';
import { openModel } from './model.ts';
import { Stage } from './stage.ts';
import { generous, narrow, strain } from './strain.ts';

test('whatever is forwarded is answered, and from the address that was asked, in a table that fills up', () => {
  const stages = [narrow, generous].map((settings) => new Stage([openModel(settings).side]));
  const seen = new Set(
    stages.flatMap((stage) =>
      [0.5, 0, 0.02].flatMap((completes, seed) => [...strain(stage, seed + 1, completes, 10_000)]),
    ),
  );
  // The narrow places were really met.
  expect(seen).toContain('drop flows-full ');
  expect(seen).toContain('forward known-flow forward-known forward-heal');
  expect(seen).toContain('forward new-flow forward-known forward-taken forward-reselect forward-new');
});
