// SPDX-License-Identifier: Apache-2.0
/** Builds kube-apiserver and kube-proxy from their Go module and fetches Debian's etcd and nft, once: minutes of work. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
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

/** Programs that the suites against Kubernetes run. */
export type KubernetesProgram = 'kube-apiserver' | 'kube-proxy' | 'etcd' | 'nft';

const servers: readonly KubernetesProgram[] = ['kube-apiserver', 'kube-proxy'];

/** What each suite runs. */
export const programsOfSuite: Readonly<Record<'api' | 'proxy', readonly KubernetesProgram[]>> = {
  api: ['kube-apiserver', 'etcd'],
  proxy: ['kube-apiserver', 'etcd', 'kube-proxy', 'nft'],
};

/** Outside of the checkout, so that every checkout of the machine shares it; `TANDEM_KUBERNETES` names another. */
export function kubernetesFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return process.env['TANDEM_KUBERNETES'] ?? join(cache, 'tandem', `kubernetes-v${kubernetesVersion}`);
}

/** What to do where something is not there; nothing does it by itself, because it takes minutes and needs Go. */
export const kubernetesRemedy: string = '`node tools/kubernetes.ts` builds it in minutes with go and apt-get';

/** What a suite would run and is not there, in words; undefined: all is there. */
export function lackOfKubernetes(suite: keyof typeof programsOfSuite): string | undefined {
  const missing = programsOfSuite[suite].filter((program) => !existsSync(join(kubernetesFolder(), program)));
  return missing.length === 0 ? undefined : `no ${missing.join(', ')} in ${kubernetesFolder()}; ${kubernetesRemedy}`;
}

/** Needs go 1.24 or newer and apt-get; installs nothing on the machine. */
function buildAll(): void {
  const folder = kubernetesFolder();
  mkdirSync(folder, { recursive: true });
  if (!existsSync(join(folder, 'etcd'))) fetchEtcd(folder);
  if (!existsSync(join(folder, 'nft'))) fetchNft(folder);
  const missing = servers.filter((server) => !existsSync(join(folder, server)));
  if (missing.length > 0) buildServers(folder, missing);
  process.stdout.write(`${folder}: ${readdirSync(folder).toSorted().join(', ')}\n`);
}

/** The package is unpacked and not installed: installing would start a service. */
function fetchEtcd(folder: string): void {
  const work = unpackPackages(['etcd-server']);
  run('cp', [join(work, 'unpacked', 'usr', 'bin', 'etcd'), join(folder, 'etcd')], work);
  rmSync(work, { recursive: true, force: true });
}

/** With all its libraries but the C library, and a script of its name that finds them: no machine changes by it. */
function fetchNft(folder: string): void {
  const options = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((one) => `--no-${one}`);
  const closure = run('apt-cache', ['depends', '--recurse', ...options, 'nftables'], folder).split('\n');
  const names = [...new Set(closure.filter((line) => /^[a-z0-9]/.test(line)))].filter(
    (name) => !/^(libc6|libgcc-s1|libcrypt1|gcc-[0-9]+-base)$/.test(name),
  );
  const work = unpackPackages(names);
  rmSync(join(folder, 'nft-root'), { recursive: true, force: true });
  run('cp', ['-a', join(work, 'unpacked'), join(folder, 'nft-root')], work);
  const script = [
    '#!/bin/sh',
    'root=$(dirname "$(readlink -f "$0")")/nft-root',
    'LD_LIBRARY_PATH=$(printf %s: "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu) exec "$root/usr/sbin/nft" "$@"',
  ];
  writeFileSync(join(folder, 'nft'), `${script.join('\n')}\n`);
  chmodSync(join(folder, 'nft'), 0o755);
  rmSync(work, { recursive: true, force: true });
}

/** A temporary folder in which `unpacked` is what the packages would put on a machine. */
function unpackPackages(names: readonly string[]): string {
  const work = mkdtempSync(join(tmpdir(), 'tandem-packages-'));
  run('apt-get', ['download', ...names], work);
  const archives = readdirSync(work).filter((name) => name.endsWith('.deb'));
  if (archives.length < names.length) throw new Error(`apt-get brought ${archives.join(', ')} of ${names.join(', ')}`);
  for (const archive of archives) run('dpkg', ['-x', archive, 'unpacked'], work);
  return work;
}

function buildServers(folder: string, wanted: readonly KubernetesProgram[]): void {
  const source = join(folder, 'src');
  mkdirSync(source, { recursive: true });
  writeFileSync(join(source, 'go.mod'), goModule(source));
  const imports = servers.map((server) => ` _ "k8s.io/kubernetes/cmd/${server}"\n`);
  writeFileSync(join(source, 'tools.go'), `//go:build tools\npackage tools\nimport (\n${imports.join('')})\n`);
  run('go', ['mod', 'tidy'], source);
  for (const server of wanted) buildServer(folder, source, server);
}

function buildServer(folder: string, source: string, server: KubernetesProgram): void {
  const version = 'k8s.io/component-base/version';
  const [major = '', minor = ''] = kubernetesVersion.split('.');
  const set = [`gitVersion=v${kubernetesVersion}`, `gitMajor=${major}`, `gitMinor=${minor}`];
  const flags = ['-s', '-w', ...set.flatMap((one) => ['-X', `${version}.${one}`])].join(' ');
  const half = join(folder, `${server}.half`);
  run('go', ['build', '-trimpath', '-ldflags', flags, '-o', half, `k8s.io/kubernetes/cmd/${server}`], source);
  renameSync(half, join(folder, server));
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
  const head = `module tandem.invalid/kubernetes\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v${kubernetesVersion}\n`;
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
