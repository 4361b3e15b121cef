import type { AggregateFunction } from './define-window.ts'

/** The words of the SQL that windows are written in, and those that lead elsewhere. */

export const AGGREGATES: Readonly<Record<string, AggregateFunction>> = {
  COUNT: 'count',
  SUM: 'sum',
  AVG: 'avg',
  MIN: 'min',
  MAX: 'max',
  FIRST_VALUE: 'first',
  LAST_VALUE: 'last',
  VAR_SAMP: 'var',
  VARIANCE: 'var',
}

export const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  TUMBLE: ['DATA', 'TIMECOL', 'SIZE', 'OFFSET'],
  HOP: ['DATA', 'TIMECOL', 'SLIDE', 'SIZE', 'OFFSET'],
  CUMULATE: ['DATA', 'TIMECOL', 'STEP', 'SIZE', 'OFFSET'],
  SESSION: ['DATA', 'TIMECOL', 'GAP'],
}

export const UNITS_MS: Readonly<Record<string, number>> = {
  SECOND: 1_000,
  MINUTE: 60_000,
  HOUR: 3_600_000,
  DAY: 86_400_000,
}

export const SUB_QUERY = 'sub-queries are not in this release'
export const JOIN = 'joins are not in this release'

/** Words that begin what is not in this release, each with the reason and a fix. */
export const CLAUSES: Readonly<Record<string, readonly [string, string?]>> = {
  HAVING: [
    'HAVING is not in this release',
    'Filter where the table is queried, or with to: {where} what is published.',
  ],
  ORDER: ['a table has no order', 'Sort where it is queried.'],
  LIMIT: ['a table has all its groups', 'Limit where it is queried.'],
  FETCH: ['a table has all its groups', 'Limit where it is queried.'],
  OFFSET: ['a table has all its groups', 'Limit where it is queried.'],
  WINDOW: ['windows of rows (OVER) are no event-time windows'],
  QUALIFY: ['windows of rows (OVER) are no event-time windows'],
  UNION: ['UNION is not in this release', 'Define one window for each SELECT.'],
  INTERSECT: ['INTERSECT is not in this release'],
  EXCEPT: ['EXCEPT is not in this release'],
  EMIT: ['EMIT is no clause here', 'Write emit and early beside the SQL.'],
  WITH: ['WITH is not in this release', 'Name a table of the pipeline in FROM.'],
  INSERT: ['the SELECT alone is the definition', "Remove INSERT INTO: the table has the window's name."],
  CREATE: ['the SELECT alone is the definition', "Remove CREATE: the table has the window's name."],
  MATCH_RECOGNIZE: ['patterns are not in this release'],
  LATERAL: [JOIN],
  CASE: ['expressions are not in this release', 'Add a computed column to the table.'],
  CAST: ['expressions are not in this release', 'Add a computed column to the table.'],
  INTERVAL: ['expressions are not in this release', 'Add a computed column to the table.'],
  ...Object.fromEntries(['JOIN', 'LEFT', 'RIGHT', 'FULL', 'INNER', 'CROSS', 'NATURAL'].map((word) => [word, [JOIN]])),
}

/** Words that end a condition. */
export const CONDITION_ENDS: readonly string[] =
  'GROUP HAVING ORDER LIMIT FETCH WINDOW QUALIFY UNION INTERSECT EXCEPT'.split(' ')

/** Words that are no names, unless they are quoted. */
export const RESERVED: readonly string[] = [
  ...Object.keys(CLAUSES).filter((word) => word !== 'OFFSET'),
  ...'SELECT FROM WHERE GROUP BY AS ON USING FOR TABLE FILTER OVER DISTINCT AND OR NOT NULL'.split(' '),
  ...'TRUE FALSE IS IN LIKE BETWEEN'.split(' '),
]

const BY_KEYS = 'Write the window by its keys, whose conditions are in the SQL of DuckDB, or add a computed column.'
const CASTS: readonly [string, string] = [
  'a cast to whole numbers rounds here and cuts off in Flink, and texts of other types differ',
  'Compare without it, or add a computed column of the type.',
]

/**
 * What a condition may say in Flink and in DuckDB, and means something else in each: signs, calls by their name, and words,
 * which may be columns where no TO or FROM stands behind them. Each with the reason and a fix.
 */
export const OTHERWISE: {
  readonly signs: Readonly<Record<string, readonly [string, string]>>
  readonly calls: Readonly<Record<string, readonly [string, string]>>
  readonly words: Readonly<Record<string, readonly [string, string]>>
} = {
  signs: { '/': ['7 / 2 is 3.5 here and 3 in Flink', `Multiply instead, as in a > 2 * b. ${BY_KEYS}`] },
  calls: {
    CAST: CASTS,
    TRY_CAST: CASTS,
    CONCAT: ['CONCAT() passes over null here, and is null in Flink', 'Write a || b.'],
    GREATEST: ['GREATEST() passes over null here, and is null in Flink', BY_KEYS],
    LEAST: ['LEAST() passes over null here, and is null in Flink', BY_KEYS],
    LOG: ['LOG() is of base 10 here, and natural in Flink', 'Write LN() or LOG10().'],
    REGEXP_REPLACE: ['REGEXP_REPLACE() replaces the first match here, and all in Flink', BY_KEYS],
    REGEXP_EXTRACT: ['REGEXP_EXTRACT() without a match is an empty text here, and null in Flink', BY_KEYS],
    REGEXP_EXTRACT_ALL: ['REGEXP_EXTRACT_ALL() takes whole matches here, and their first group in Flink', BY_KEYS],
    DAYOFWEEK: ['DAYOFWEEK() of a Sunday is 0 here, and 1 in Flink', BY_KEYS],
    JSON_VALUE: ['JSON_VALUE() keeps the quotes of a text here, and not in Flink', BY_KEYS],
    URL_ENCODE: ['URL_ENCODE() of a blank is %20 here, and + in Flink', BY_KEYS],
    TYPEOF: ['TYPEOF() names types as DuckDB does', BY_KEYS],
  },
  words: {
    SIMILAR: ['SIMILAR TO takes regular expressions here, and % and _ in Flink', 'Write LIKE.'],
    DOW: ['the day of the week of a Sunday is 0 here, and 1 in Flink', BY_KEYS],
  },
}
