import type { VersionContent } from '../../src/lake/chain.ts'

/** What a version says beside its tables and positions, where there is nothing to say. */
export const NOTHING_ELSE: Omit<VersionContent, 'kind' | 'writer' | 'tables' | 'positions'> = {
  clocksMs: {},
  watermarksMs: {},
  published: {},
  watermarkMs: undefined,
  topicIds: {},
  tails: new Map(),
  holes: new Map(),
  paused: undefined,
  released: false,
  fork: undefined,
  origins: new Map(),
}
