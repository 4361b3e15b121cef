import { bundle } from '../../infra/build.mjs'

/** Tests start the same child processes as production, from dist/, built from the sources under test. */
export default async function setup(): Promise<void> {
  await bundle()
}
