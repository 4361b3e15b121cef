import { hashOf } from './define-code.ts'

/**
 * Table property of a source table and of a window table: what its code hash is the hash of, so that a change of code
 * can be told field by field, and taken over from here on where it fits (docs/adr/0012).
 */
export const DEFINITION_PROPERTY = 'kappalake.definition'

/** The parts of a definition that decide rows, as `definitionText` and `windowDefinitionText` write them. */
export type StoredDefinition = Readonly<Record<string, unknown>> & { readonly name: string }

/** What a table is created with. */
export function definitionProperties(text: string): Readonly<Record<string, string>> {
  return { [DEFINITION_PROPERTY]: text }
}

/** The definition that a table was made by; undefined where it is not known, as of tables of earlier releases. */
export function storedDefinition(properties: Readonly<Record<string, string>>): StoredDefinition | undefined {
  const text = properties[DEFINITION_PROPERTY]
  try {
    return text === undefined ? undefined : (JSON.parse(text) as StoredDefinition)
  } catch {
    return undefined
  }
}

/** As `storedDefinition`, of a table that `code` made: a text that says otherwise is none of it. */
export function definitionOf(properties: Readonly<Record<string, string>>, code: string): StoredDefinition | undefined {
  const text = properties[DEFINITION_PROPERTY]
  return text !== undefined && hashOf(text) === code ? storedDefinition(properties) : undefined
}
