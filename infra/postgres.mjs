// Starts a real PostgreSQL with logical replication: `node infra/postgres.mjs` runs one until it is interrupted and
// prints its port. Tests import startPostgres.
import { execFile } from 'node:child_process'
import { chownSync, cpSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Child } from './child.mjs'
import { freePort } from './ports.mjs'
import { connectSql } from './postgres-client.mjs'

const run = promisify(execFile)
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const READY_WITHIN_MS = 60_000
/** PostgreSQL refuses to run as root: then it runs as the user that owns nothing. */
const NOBODY = 65_534
const DATABASE = 'shop'

export async function startPostgres() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-postgres-'))
  try {
    const home = await installation(folder)
    const data = path.join(folder, 'data')
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
    if (user.uid !== undefined) chownSync(folder, NOBODY, NOBODY)
    const options = { ...user, cwd: folder }
    const initdb = ['-D', data, '-A', 'trust', '-U', 'postgres', '--no-sync', '-E', 'UTF8', '--locale=C']
    await run(path.join(home, 'bin/initdb'), initdb, options)
    const server = new Postgres(folder, await freePort())
    await server.start(path.join(home, 'bin/postgres'), options)
    return server
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

class Postgres {
  database = DATABASE
  user = 'postgres'
  #folder
  #child

  constructor(folder, port) {
    this.#folder = folder
    this.port = port
  }

  get pid() {
    return this.#child?.pid
  }

  async start(program, options) {
    const log = openSync(path.join(this.#folder, 'log'), 'a')
    const settings = {
      port: this.port,
      listen_addresses: '127.0.0.1',
      unix_socket_directories: this.#folder,
      wal_level: 'logical',
      wal_sender_timeout: '10s',
      fsync: 'off',
      timezone: 'UTC',
      log_timezone: 'UTC',
    }
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const args = ['-D', path.join(this.#folder, 'data'), ...flags]
    this.#child = new Child(program, args, { ...options, stdio: ['ignore', log, log] }, 'SIGQUIT')
    await this.#ready()
    const admin = await this.connect('postgres')
    await admin.query(`create database ${DATABASE}`)
    admin.end()
  }

  connect(database = DATABASE) {
    return connectSql({ port: this.port, user: this.user, database })
  }

  /** SIGQUIT: ends at once, with all its processes, and removes the data. */
  async stop() {
    await this.#child?.end()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #ready() {
    const deadline = Date.now() + READY_WITHIN_MS
    for (; Date.now() < deadline && this.#child.isRunning; await sleep(50)) {
      const sql = await this.connect('postgres').catch(() => undefined)
      if (sql === undefined) continue
      // An open port proves nothing, another process may hold it: the server that answers must have our data.
      const [{ data_directory: answered }] = await sql.query('show data_directory')
      sql.end()
      if (answered === path.join(this.#folder, 'data')) return
      throw new Error(`port ${this.port} belongs to another server`)
    }
    const said = readFileSync(path.join(this.#folder, 'log'), 'utf8').slice(-2_000)
    await this.stop()
    throw new Error(`PostgreSQL did not start: ${said}`)
  }
}

/** The folder of the binaries; a copy in `folder` where the user that runs them cannot reach the original. */
async function installation(folder) {
  const home = path.join(path.resolve(root, process.env.KAPPALAKE_CACHE ?? '.cache'), 'postgres')
  const program = path.join(home, 'bin/postgres')
  if (!existsSync(program)) throw new Error(`PostgreSQL is missing at ${home}: run \`npm run setup\``)
  if (process.getuid?.() !== 0) return home
  const isReachable = await run(program, ['--version'], { uid: NOBODY, gid: NOBODY, cwd: '/' }).catch(() => undefined)
  if (isReachable !== undefined) return home
  const copy = path.join(folder, 'home')
  cpSync(home, copy, { recursive: true, verbatimSymlinks: true })
  return copy
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await startPostgres()
  console.log(JSON.stringify({ pid: server.pid, port: server.port, database: server.database, user: server.user }))
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void server.stop().then(() => process.exit(0)))
}
