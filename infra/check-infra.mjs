// `npm run check:infra`: what the tools of their makers say of infra/. Needs Python 3.11 (for linters, which it installs
// into .cache), promtool and kubectl on the path, and for --container also what `npm run setup` installs. A tool that is
// missing is a failure: nothing is skipped.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const bin = (name) => path.resolve(root, process.env.KAPPALAKE_CACHE ?? '.cache', 'lint/bin', name)
const scratch = mkdtempSync(path.join(os.tmpdir(), 'kappalake-infra-'))
const manifests = path.join(scratch, 'kubernetes.yaml')

const steps = [
  ['Dockerfile', bin('hadolint'), ['infra/container/Dockerfile']],
  ['compose file', bin('check-jsonschema'), ['--builtin-schema', 'vendor.compose-spec', 'infra/compose/compose.yaml']],
  [
    'kustomization',
    () => writeFileSync(manifests, execFileSync('kubectl', ['kustomize', 'infra/kubernetes'], { cwd: root })),
  ],
  ['manifests', bin('kubernetes-validate'), ['--strict', '--quiet', manifests, 'infra/kubernetes/secret.example.yaml']],
  ['Prometheus rules', 'promtool', ['check', 'rules', 'infra/prometheus/alerts.yaml']],
  ['alerts fire', 'promtool', ['test', 'rules', 'infra/prometheus/alerts.test.yaml']],
  ['Prometheus', 'promtool', ['check', 'config', '--syntax-only', 'infra/prometheus/prometheus.yaml']],
  ...(process.argv.includes('--container')
    ? [['image in plain', process.execPath, ['infra/check/container.mjs']]]
    : []),
]

execFileSync(process.execPath, ['infra/setup.mjs', 'lint'], { cwd: root, stdio: 'inherit' })
let failed = 0
for (const [name, command, args] of steps) {
  const isOk = typeof command === 'function' ? attempt(command) : run(command, args)
  if (!isOk) failed++
  console.log(`${isOk ? '✓' : '✗'} ${name}`)
}
rmSync(scratch, { recursive: true, force: true })
console.log(`${steps.length - failed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)

function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  if (error?.code === 'ENOENT') console.log(`  ${command} is missing: install it (promtool comes with Prometheus)`)
  if (status !== 0 || path.basename(command).startsWith('node')) console.log(`${stdout ?? ''}${stderr ?? ''}`)
  return status === 0
}

function attempt(work) {
  try {
    work()
    return true
  } catch (error) {
    console.log(`  ${error.code === 'ENOENT' ? 'kubectl is missing: install it' : error.message}`)
    return false
  }
}
