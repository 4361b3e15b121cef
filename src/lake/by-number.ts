/** Numbers of files are given one after the other, so few of those that are there agree in these bits. */
const PLACES = 4_096

interface Entry<T> {
  readonly number: number
  readonly value: T
  next: Entry<T> | undefined
}

/** A map from the numbers of files, which is asked for each row: no hashing, and most of what is not there is told at once. */
export class ByNumber<T> {
  readonly #places = Array.from<Entry<T> | undefined>({ length: PLACES })

  get(number: number): T | undefined {
    let entry = this.#places[number & (PLACES - 1)]
    while (entry !== undefined && entry.number !== number) entry = entry.next
    return entry?.value
  }

  set(number: number, value: T): void {
    this.delete(number)
    const place = number & (PLACES - 1)
    this.#places[place] = { number, value, next: this.#places[place] }
  }

  delete(number: number): void {
    const place = number & (PLACES - 1)
    let [before, entry] = [undefined as Entry<T> | undefined, this.#places[place]]
    while (entry !== undefined && entry.number !== number) [before, entry] = [entry, entry.next]
    if (entry === undefined) return
    if (before === undefined) this.#places[place] = entry.next
    else before.next = entry.next
  }
}
