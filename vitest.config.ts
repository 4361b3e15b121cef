import { defineConfig } from 'vitest/config'

// fast: no network, no Java, no Python; files share their workers, so that DuckDB and the modules are loaded once.
// engine: what takes seconds because DuckDB computes it: no broker, no server; two files beside each other.
// real: against Apache Kafka, an S3 server, foreign Iceberg readers and processes of ours, one after the other.
const real = ['test/**/*.real.test.ts']
const engine = [
  'test/ingest/{compare,encoder-laws,fork-laws,keyed-rows,row-transform,row-wise,seeding,window-plants}.real.test.ts',
  'test/ingest/window/*.real.test.ts',
  'test/query/{exact,open-windows,prune,top-rows}.real.test.ts',
  'test/replay/verify.real.test.ts',
  'test/testing/*.real.test.ts',
  'test/window/*.real.test.ts',
]
/** Only with `npm run interop -- --trino`. */
const asked = process.env['KAPPALAKE_TRINO'] === '1' ? [] : ['test/interop/trino.real.test.ts']
const laws = ['test/support/laws.ts']
const lasting = { testTimeout: 180_000, hookTimeout: 180_000, setupFiles: [...laws, 'test/support/lasting-laws.ts'] }
export default defineConfig({
  test: {
    globalSetup: ['test/support/build.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: real,
          testTimeout: 20_000,
          setupFiles: laws,
          isolate: false,
          maxWorkers: '100%',
        },
      },
      {
        extends: true,
        test: { name: 'engine', include: engine, ...lasting, maxWorkers: 2 },
      },
      {
        extends: true,
        test: {
          name: 'real',
          include: real,
          exclude: [...engine, ...asked],
          ...lasting,
          fileParallelism: false,
          // Of the tests that say that they may run beside each other.
          maxConcurrency: 2,
        },
      },
    ],
  },
})
