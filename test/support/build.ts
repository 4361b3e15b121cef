import { bundle } from '../../infra/build.mjs'

/**
 * Tests start the same child processes as production, from dist/, built from the sources under test. With
 * `KAPPALAKE_BUILT=1` they are there, and other tests are using them.
 */
export default async function setup(): Promise<void> {
  if (process.env['KAPPALAKE_BUILT'] !== '1') await bundle()
}
