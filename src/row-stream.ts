/** Rows of a query: all of them with `await`, or as they come with `for await`. It runs when one of the two is asked for. */
export interface Rows<Row> extends Promise<readonly Row[]>, AsyncIterable<Row> {
  /** Rows as they come, some at a time: what a `for await` costs is paid once for hundreds of them. */
  batches(): AsyncGenerator<readonly Row[], void, undefined>
}

/** `all` and `some` run the query, each time they are called. */
export function rowsOf<Row>(
  all: () => Promise<readonly Row[]>,
  some: () => AsyncGenerator<readonly Row[], void, undefined>,
): Rows<Row> {
  let read: Promise<readonly Row[]> | undefined
  const promise = () => (read ??= all())
  return {
    // oxlint-disable-next-line unicorn/no-thenable -- it is a promise, which is made when it is waited for
    then: (onRows, onError) => promise().then(onRows, onError),
    catch: (onError) => promise().catch(onError),
    finally: (onEnd) => promise().finally(onEnd),
    batches: some,
    async *[Symbol.asyncIterator]() {
      for await (const rows of some()) yield* rows
    },
    [Symbol.toStringTag]: 'Rows',
  }
}
