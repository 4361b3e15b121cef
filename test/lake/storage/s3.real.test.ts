import { afterAll } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { openStorage } from '../../../src/lake/storage/open.ts'
import { storageConformance } from '../../conformance/storage.ts'
import { startS3, storeOn } from '../../support/s3-server.ts'

const server = await startS3()
afterAll(() => server.stop())

storageConformance('S3Storage', () => openStorage(storeOn(server, 'conformance/one'), systemClock))
