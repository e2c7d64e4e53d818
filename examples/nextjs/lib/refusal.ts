// What goes wrong, and what of it the visitor is told.

import { ComputeError, InvalidArgumentError, NotFoundError, QuotaExceededError } from 'computesdk'

/** What is refused, with the status and the words that the visitor gets. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

/** What a visitor is told of a failure: of the server's own nothing but that there was one. */
export function told(error: unknown): { status: number; success: false; error: string } {
  if (error instanceof Refusal) return { status: error.status, success: false, error: error.message }
  if (error instanceof ComputeError) {
    const status = statusOf(error)
    if (status !== undefined) return { status, success: false, error: error.message }
  }
  console.error(error)
  return { status: 500, success: false, error: 'Something went wrong on the server.' }
}

function statusOf(error: ComputeError): number | undefined {
  if (error.code === 'CODE_SYNTAX') return 422
  if (error instanceof InvalidArgumentError) return 400
  if (error instanceof NotFoundError) return 404
  if (error instanceof QuotaExceededError) return 429
  return undefined
}
