// The little of PostgreSQL's protocol that a test needs: simple queries without a password, every value as its text.
import net from 'node:net'

/** Connects over the loopback. Rejects when nothing answers or the server refuses. */
export async function connectSql({ port, user, database }) {
  const socket = net.connect({ host: '127.0.0.1', port })
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  const connection = new Connection(socket)
  await connection.open({ user, database })
  return connection
}

class Connection {
  #socket
  #received = Buffer.alloc(0)
  /** What the statement under way has answered so far, and who waits for it. */
  #answer
  #last = Promise.resolve()

  constructor(socket) {
    this.#socket = socket
    socket.on('data', (bytes) => this.#read(bytes))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the connection is closed')))
  }

  open(parameters) {
    const texts = Object.entries({ ...parameters, client_encoding: 'UTF8' }).flat()
    const body = Buffer.from(`${texts.join('\0')}\0\0`)
    const head = Buffer.alloc(8)
    head.writeInt32BE(8 + body.length, 0)
    head.writeInt32BE(0x3_00_00, 4) // version 3.0
    return this.#send(Buffer.concat([head, body]))
  }

  /** Rows of the last statement of `text` that has any, as objects of texts and nulls. Statements run one after another. */
  query(text) {
    const asked = this.#last.then(() => {
      const body = Buffer.from(`${text}\0`)
      const head = Buffer.alloc(5)
      head.write('Q')
      head.writeInt32BE(4 + body.length, 1)
      return this.#send(Buffer.concat([head, body]))
    })
    this.#last = asked.catch(() => undefined)
    return asked
  }

  end() {
    this.#socket.end(Buffer.from([0x58, 0, 0, 0, 4]))
  }

  #send(bytes) {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return void reject(new Error('the connection is closed'))
      this.#answer = { resolve, reject, names: [], rows: [], error: undefined }
      this.#socket.write(bytes)
    })
  }

  #read(bytes) {
    this.#received = Buffer.concat([this.#received, bytes])
    while (this.#received.length >= 5) {
      const length = this.#received.readInt32BE(1)
      if (this.#received.length < 1 + length) return
      this.#message(String.fromCharCode(this.#received[0]), this.#received.subarray(5, 1 + length))
      this.#received = this.#received.subarray(1 + length)
    }
  }

  #message(kind, body) {
    const answer = this.#answer
    if (answer === undefined) return
    if (kind === 'T') {
      answer.names = columnNames(body)
      answer.rows = []
    } else if (kind === 'D') answer.rows.push(row(answer.names, body))
    else if (kind === 'E') answer.error = new Error(errorText(body))
    else if (kind === 'Z') {
      this.#answer = undefined
      if (answer.error === undefined) answer.resolve(answer.rows)
      else answer.reject(answer.error)
    }
  }

  #fail(error) {
    const answer = this.#answer
    this.#answer = undefined
    answer?.reject(answer.error ?? error)
  }
}

function columnNames(body) {
  const names = []
  for (let at = 2, left = body.readInt16BE(0); left > 0; left--) {
    const end = body.indexOf(0, at)
    names.push(body.toString('utf8', at, end))
    at = end + 19 // table, column, type, size, modifier, format
  }
  return names
}

function row(names, body) {
  const values = {}
  let at = 2
  for (const name of names) {
    const length = body.readInt32BE(at)
    at += 4
    values[name] = length < 0 ? null : body.toString('utf8', at, at + length)
    at += Math.max(0, length)
  }
  return values
}

function errorText(body) {
  const fields = new Map(
    body
      .toString('utf8')
      .split('\0')
      .filter((field) => field !== '')
      .map((field) => [field[0], field.slice(1)]),
  )
  return `${fields.get('C')}: ${fields.get('M')}`
}
