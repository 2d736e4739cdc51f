// SPDX-License-Identifier: Apache-2.0
/** The node that a command computes for: its configuration file, and a name that takes precedence over the file's. */
import type { DocumentConfig } from '../../core/control/tell/document.ts';
import { PLAIN_NODE } from '../../core/control/nodes.ts';
import { ok, type Result } from '../../core/result.ts';

/** Without a file everything has its default, and nothing that reads files is loaded. */
export async function readNode(file: string | undefined, nodeName: unknown): Promise<Result<DocumentConfig>> {
  const named = typeof nodeName === 'string' ? { nodeName: nodeName.trim().toLowerCase() } : {};
  if (file === undefined) return ok({ ...PLAIN_NODE, serviceCIDRs: [], ...named });
  const { readConfiguration } = await import('../../formats/config.ts');
  const config = readConfiguration(file);
  return config.ok ? ok({ ...config.value, ...named }) : config;
}
