// SPDX-License-Identifier: Apache-2.0
/** The kernel's twin for a replay, where it can be had. */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { ConfigRecord } from '../core/layout.gen.ts';
import { failureText } from '../core/result.ts';
import type { Twin } from '../core/twin.ts';

const objectPath = fileURLToPath(new URL('../bpf/tandem.bpf.o', import.meta.url));

/** The kernel's twin, or why there is none. */
export type Kernel =
  | { readonly is: 'open'; readonly twin: Twin; readonly sha256: string; readonly close: () => void }
  | { readonly is: 'missing'; readonly why: string };

/** Loads the programs of the committed object. */
export async function openKernel(settings: ConfigRecord): Promise<Kernel> {
  if (process.platform !== 'linux') return { is: 'missing', why: `this is ${process.platform}, not Linux` };
  if (process.getuid?.() !== 0) return { is: 'missing', why: 'not root' };
  const modules = await importKernel();
  if (modules === undefined) return { is: 'missing', why: 'kernel/ or its libraries are not here' };
  const [{ loadObject, readObjectFile }, { createKernelTwin, packetPrograms }] = modules;
  const bytes = readObjectFile(objectPath);
  if (!bytes.ok) return { is: 'missing', why: failureText(bytes.error) };
  const loaded = loadObject({
    object: bytes.value,
    name: objectPath,
    settings: { ...settings, testMode: 1 },
    programs: packetPrograms,
  });
  if (!loaded.ok) return { is: 'missing', why: failureText(loaded.error) };
  const twin = createKernelTwin({ object: loaded.value });
  const close = (): void => loaded.value[Symbol.dispose]();
  if (twin.ok) {
    return { is: 'open', twin: twin.value, sha256: createHash('sha256').update(bytes.value).digest('hex'), close };
  }
  close();
  return { is: 'missing', why: failureText(twin.error) };
}

type KernelModules = readonly [typeof import('../kernel/object.ts'), typeof import('../kernel/twin.ts')];

/** Undefined where kernel/ or koffi were left out on purpose; any other failure to import is a bug and stays loud. */
async function importKernel(): Promise<KernelModules | undefined> {
  try {
    return await Promise.all([import('../kernel/object.ts'), import('../kernel/twin.ts')]);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}
