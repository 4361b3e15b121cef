import type { GetObjectCommandOutput } from '@aws-sdk/client-s3'
import type { Readable } from 'node:stream'

/**
 * One object on its way into one Buffer. A body that is cut off is an error that the SDK does not repeat; what has
 * come is kept, and the next request asks for the rest of the same bytes, named by their ETag.
 */
export class Download {
  #bytes: Buffer = Buffer.alloc(0)
  #filled = 0
  #etag: string | undefined

  /** What the next request must ask for besides the key. */
  rest(): { readonly Range?: string; readonly IfMatch?: string } {
    return this.#filled === 0 || this.#etag === undefined
      ? {}
      : { Range: `bytes=${this.#filled}-`, IfMatch: this.#etag }
  }

  /** The object was replaced between two requests: begin again. */
  restart(): void {
    this.#filled = 0
    this.#etag = undefined
  }

  /** Reads the body to its end. Throws when it ends early or stalls; then ask again with `rest()`. */
  async take(answer: GetObjectCommandOutput): Promise<Uint8Array> {
    const from = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.ContentRange ?? '')
    if (this.#filled > 0 && Number(from?.[1]) !== this.#filled) this.restart() // the range was ignored
    if (this.#filled === 0) {
      if (answer.ContentLength === undefined) throw new Error('an answer without a length')
      this.#bytes = Buffer.allocUnsafeSlow(answer.ContentLength)
      this.#etag = answer.ETag
    }
    for await (const chunk of answer.Body as Readable as AsyncIterable<Buffer>) {
      if (this.#filled + chunk.length > this.#bytes.length) throw new Error('more bytes than the length announced')
      this.#filled += chunk.copy(this.#bytes, this.#filled)
    }
    if (this.#filled !== this.#bytes.length) {
      throw new Error(`the body ended after ${this.#filled} of ${this.#bytes.length} bytes`)
    }
    return this.#bytes
  }
}
