import * as fc from 'fast-check'
import type { AggregateDefinition, CalendarUnit, WindowDefinition, WindowKind } from '../../../src/define-window.ts'

/** One of all rows. */
export function aggregate(name: string, fn: AggregateDefinition['fn'], column?: string): AggregateDefinition {
  return { name, fn, column, n: undefined, where: undefined }
}

export type Hopping = Extract<WindowKind, { kind: 'hopping' }>

/** |offset| < size, as the definition demands. */
const offset = (sizeMs: number): fc.Arbitrary<number> => fc.integer({ min: 1 - sizeMs, max: sizeMs - 1 })

export function hoppingKind(): fc.Arbitrary<Hopping> {
  return fc
    .tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 60 }))
    .chain(([slideMs, more]) =>
      offset(slideMs).map((offsetMs) => ({ kind: 'hopping' as const, sizeMs: slideMs + more, slideMs, offsetMs })),
    )
}

/** What is arithmetic. */
export function plainKind(): fc.Arbitrary<WindowKind> {
  return fc.oneof(
    fc
      .integer({ min: 1, max: 50 })
      .chain((sizeMs) => offset(sizeMs).map((offsetMs) => ({ kind: 'tumbling' as const, sizeMs, offsetMs }))),
    hoppingKind(),
    fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })).chain(([stepMs, steps]) =>
      offset(stepMs * steps).map((offsetMs) => ({
        kind: 'cumulate' as const,
        stepMs,
        maxMs: stepMs * steps,
        offsetMs,
      })),
    ),
    fc.integer({ min: 1, max: 30 }).map((gapMs) => ({ kind: 'session' as const, gapMs })),
  )
}

export function calendarKind(): fc.Arbitrary<WindowKind> {
  const zone = fc.constantFrom('Europe/Berlin', 'America/Sao_Paulo', 'Pacific/Apia', 'Australia/Lord_Howe', 'UTC')
  return zone.chain((timeZone) =>
    fc.oneof(
      fc
        .constantFrom<CalendarUnit>('day', 'week', 'month', 'quarter', 'year')
        .map((unit) => ({ kind: 'calendar' as const, unit, timeZone })),
      fc
        .constantFrom(900_000, 1_800_000, 3_600_000, 14_400_000, 86_400_000)
        .map((sizeMs) => ({ kind: 'tumbling' as const, sizeMs, offsetMs: sizeMs / 5, timeZone })),
    ),
  )
}

export function windowDefinition(window: WindowKind, changed: Partial<WindowDefinition> = {}): WindowDefinition {
  return {
    kind: 'window',
    name: 'w',
    source: 's',
    window,
    allowedLatenessMs: 0,
    input: 'events',
    groupBy: [],
    nullGroup: 'late',
    where: undefined,
    select: [],
    emit: 'update',
    earlyMs: 0,
    openRowsMax: 1_000_000,
    oldValuesMax: 1_000_000,
    computed: [],
    retainMs: undefined,
    to: undefined,
    ...changed,
  }
}
