import { openSource } from '../ingest/source.ts'
import { openStorage } from '../lake/storage/open.ts'
import { assertConditionalWrites } from '../lake/storage/race.ts'
import type { CliParts } from './program.ts'

/** The real parts of the commands. The library is loaded when a lake is opened: reading commands need none of it. */
export const parts: Omit<CliParts, 'version'> = {
  open: async (...given) => (await import('../index.ts')).open(...given),
  doctor: { openStorage, openSource, assertConditionalWrites },
}
