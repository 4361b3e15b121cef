/** Pages of docs/reference by their file names. */
export function referencePages(schema: object, openapi: object): Readonly<Record<string, string>>
