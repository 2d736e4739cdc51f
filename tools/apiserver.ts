// SPDX-License-Identifier: Apache-2.0
/** Builds a kube-apiserver from its Go module and fetches Debian's etcd, once, for the `api` suite: minutes of work. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

/** The version whose behaviour is tested. */
export const kubernetesVersion = '1.36.3';

/** What is to be there when all is built. */
const programs: readonly string[] = ['kube-apiserver', 'etcd'];

/** Outside of the checkout, so that every checkout of the machine shares it; `TANDEM_KUBERNETES` names another. */
export function apiServerFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return process.env['TANDEM_KUBERNETES'] ?? join(cache, 'tandem', `kubernetes-v${kubernetesVersion}`);
}

/** What to do where it is not there; nothing does it by itself, because it takes minutes and needs Go. */
export const apiServerRemedy: string = '`node tools/apiserver.ts` builds it in minutes with go and apt-get';

export function isApiServerBuilt(): boolean {
  return programs.every((program) => existsSync(join(apiServerFolder(), program)));
}

/** Needs go 1.24 or newer and apt-get; installs nothing on the machine. */
function buildAll(): void {
  const folder = apiServerFolder();
  mkdirSync(folder, { recursive: true });
  if (!existsSync(join(folder, 'etcd'))) fetchEtcd(folder);
  if (!existsSync(join(folder, 'kube-apiserver'))) buildServer(folder);
  process.stdout.write(`${folder}: ${programs.join(', ')}\n`);
}

/** The package is unpacked and not installed: installing would start a service. */
function fetchEtcd(folder: string): void {
  const work = mkdtempSync(join(tmpdir(), 'tandem-etcd-'));
  run('apt-get', ['download', 'etcd-server'], work);
  const archive = readdirSync(work).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new Error('apt-get brought no etcd-server');
  run('dpkg', ['-x', archive, 'unpacked'], work);
  run('cp', [join(work, 'unpacked', 'usr', 'bin', 'etcd'), join(folder, 'etcd')], work);
  rmSync(work, { recursive: true, force: true });
}

function buildServer(folder: string): void {
  const source = join(folder, 'src');
  mkdirSync(source, { recursive: true });
  writeFileSync(join(source, 'go.mod'), goModule(source));
  const imports = '//go:build tools\npackage tools\nimport (\n _ "k8s.io/kubernetes/cmd/kube-apiserver"\n)\n';
  writeFileSync(join(source, 'tools.go'), imports);
  run('go', ['mod', 'tidy'], source);
  const version = 'k8s.io/component-base/version';
  const [major = '', minor = ''] = kubernetesVersion.split('.');
  const set = [`gitVersion=v${kubernetesVersion}`, `gitMajor=${major}`, `gitMinor=${minor}`];
  const flags = ['-s', '-w', ...set.flatMap((one) => ['-X', `${version}.${one}`])].join(' ');
  const half = join(folder, 'kube-apiserver.half');
  run('go', ['build', '-trimpath', '-ldflags', flags, '-o', half, 'k8s.io/kubernetes/cmd/kube-apiserver'], source);
  renameSync(half, join(folder, 'kube-apiserver'));
}

/** Kubernetes replaces its own parts by folders of its repository; outside of it they are modules of version 0. */
function goModule(source: string): string {
  const module = `k8s.io/kubernetes@v${kubernetesVersion}`;
  const answer: unknown = JSON.parse(run('go', ['mod', 'download', '-json', module], source, { GOFLAGS: '' }));
  const known = typeof answer === 'object' && answer !== null && 'GoMod' in answer ? answer.GoMod : undefined;
  if (typeof known !== 'string') throw new Error(`go brought no ${module}`);
  const [, ...rest] = kubernetesVersion.split('.');
  const replaced = [...readFileSync(known, 'utf8').matchAll(/^\s*(k8s\.io\/[a-z0-9-]*) => \.\/staging\//gm)];
  const lines = replaced.map(([, name = '']) => `replace ${name} => ${name} v0.${rest.join('.')}`);
  const head = `module tandem.invalid/apiserver\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v${kubernetesVersion}\n`;
  return `${head}${lines.join('\n')}\n`;
}

function run(program: string, args: readonly string[], directory: string, more: Record<string, string> = {}): string {
  const settings = { GOTOOLCHAIN: 'local', GOFLAGS: '-mod=mod -buildvcs=false', CGO_ENABLED: '0', ...more };
  return execFileSync(program, args, {
    cwd: directory,
    encoding: 'utf8',
    env: { ...process.env, ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 26,
  });
}

if (import.meta.main) buildAll();
