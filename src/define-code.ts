import { createHash } from 'node:crypto'
import { columnText, typeText } from './batch.ts'
import { declaredColumns, type TableDefinition } from './define.ts'
import type { WindowDefinition } from './define-window.ts'

/** Raised only when a release changes what the same definition and log give. */
const SEMANTICS = 1

/**
 * Hash of everything that decides a table's rows. Settings (lanes, intervals, credentials) and `startAt`, which only
 * says where a log begins, are not part of it.
 */
export function codeHash(table: TableDefinition): string {
  return hashOf(definitionText(table))
}

/** What the code hash of a table is the hash of. It stands beside the table's rows, as `DEFINITION_PROPERTY`. */
export function definitionText(table: TableDefinition): string {
  return JSON.stringify({
    semantics: SEMANTICS,
    name: table.name,
    topic: table.topic,
    value: table.value,
    ...(table.avro === undefined ? {} : { avro: table.avro }),
    ...(table.protobuf === undefined ? {} : { protobuf: table.protobuf }),
    ...(table.framing === undefined ? {} : { framing: table.framing }),
    columns: declaredColumns(table).map((column) => [column.name, columnText(column)]),
    ...(table.evolve === undefined ? {} : { evolve: table.evolve }),
    eventTime: table.eventTime,
    partitionBy: table.partitionBy,
    onError: table.onError,
    unknown: table.unknown,
    // Append tables hash as they did before there were keys.
    ...(table.key.length === 0
      ? {}
      : {
          key: table.key,
          recordKey: table.recordKey,
          ...(table.keyFormat === undefined ? {} : { keyFormat: table.keyFormat }),
          version: table.version,
          missing: table.missing,
          onTruncate: table.onTruncate,
        }),
    ...(table.where === undefined ? {} : { where: table.where }),
    ...(table.store ? {} : { store: false }),
    ...(table.map === undefined ? {} : { map: hashOf(JSON.stringify(table.map)) }),
    ...(table.lookup === undefined ? {} : { lookup: table.lookup }),
    ...(table.redact === undefined ? {} : { redact: table.redact }),
  })
}

/**
 * Hash of everything that decides a window's rows, its source's code included: what changes the source's rows changes
 * the window's (rule R5). How often open rows are written, how much may be held and where changes are published decide
 * no row, and can be changed at any time.
 */
export function windowCodeHash(window: WindowDefinition, source: TableDefinition): string {
  return hashOf(windowDefinitionText(window, source))
}

/** What the code hash of a window is the hash of. */
export function windowDefinitionText(window: WindowDefinition, source: TableDefinition): string {
  return JSON.stringify({
    semantics: SEMANTICS,
    name: window.name,
    source: [source.name, codeHash(source)],
    window: Object.entries(window.window).toSorted(([a], [b]) => (a < b ? -1 : 1)),
    allowedLatenessMs: window.allowedLatenessMs,
    input: window.input,
    groupBy: window.groupBy,
    nullGroup: window.nullGroup,
    where: window.where,
    select: window.select.map(({ name, fn, column, n, where }) => [name, fn, column, n, where]),
    ...(window.computed.length === 0
      ? {}
      : { computed: window.computed.map(({ name, type, as }) => [name, typeText(type), as]) }),
    emit: window.emit,
    retainMs: window.retainMs,
  })
}

/** Hash of a definition's text. */
export function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}
