import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll } from 'vitest'
import { storageProcesses } from '../../conformance/storage-processes.ts'

const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-local-processes-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

storageProcesses('LocalStorage', () => ({ url: `file://${folder}` }))
