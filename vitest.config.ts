import { defineConfig } from 'vitest/config'

// fast: no network, no Java, no Python; files share their workers, so that DuckDB and the modules are loaded once.
// real: against Apache Kafka, an S3 server, foreign Iceberg readers and processes of ours; and whatever takes seconds.
const real = ['test/**/*.real.test.ts']
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
          isolate: false,
          maxWorkers: '100%',
        },
      },
      {
        extends: true,
        test: {
          name: 'real',
          include: real,
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          // Of the tests that say that they may run beside each other.
          maxConcurrency: 2,
        },
      },
    ],
  },
})
