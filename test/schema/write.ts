// SPDX-License-Identifier: Apache-2.0
/** `node test/schema/write.ts`: writes the JSON Schemas that are made of shapes; oxfmt brings them into form. */
import { writeFileSync } from 'node:fs';

import { described, schemaOf, type SchemaName } from './schemas.ts';
import { schemaPath } from './validate.ts';

for (const name of Object.keys(described) as SchemaName[]) {
  writeFileSync(schemaPath(name), JSON.stringify(schemaOf(name), undefined, 2));
}
