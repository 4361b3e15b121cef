// `node infra/lock.mjs`, after every `npm install` that changed package-lock.json: makes the lockfile the same on every
// machine. Registries differ in which platforms' optional packages they hold, and npm leaves out of the lockfile what
// it could not see, so that `npm ci` refuses it elsewhere. Download addresses go too: they name a registry.
import { readFileSync, writeFileSync } from 'node:fs'

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const packages = lock.packages
for (const [owner, entry] of Object.entries(packages)) {
  delete entry.resolved
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`
    if (owner === '' || packages[path] !== undefined) continue
    const [, os, cpu, rest = ''] =
      /(darwin|linux|win32|android|freebsd|openharmony)-([a-z0-9]+)(?:-(\w+))?$/.exec(name) ?? []
    if (os === undefined) throw new Error(`${name}: for which platform is it?`)
    const libc = os !== 'linux' ? {} : { libc: [rest.startsWith('musl') ? 'musl' : 'glibc'] }
    packages[path] = {
      version,
      cpu: [cpu],
      ...(entry.dev === true ? { dev: true } : {}),
      ...libc,
      optional: true,
      os: [os],
    }
    console.log(`added ${name}@${version}`)
  }
}
lock.packages = Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync('package-lock.json', `${JSON.stringify(lock, undefined, 2)}\n`)
