import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll } from 'vitest'
import { LocalStorage } from '../../../src/lake/storage/local.ts'
import { storageConformance } from '../../conformance/storage.ts'

const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-local-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

storageConformance('LocalStorage', () => LocalStorage.open(path.join(folder, 'store')))
