// What goes wrong, and what of it the visitor is told.

import { InvalidArgumentError, NotFoundError } from 'computesdk'

/** What the visitor gets who is refused: throw it. */
export function refusal(status: number, error: string): Response {
  return Response.json({ success: false, error }, { status })
}

/** The response, or what is told of a failure: of the server's own nothing but that there was one. */
export async function answered(answer: () => Promise<Response>): Promise<Response> {
  try {
    return await answer()
  } catch (error) {
    if (error instanceof Response) return error
    if (error instanceof InvalidArgumentError) return refusal(400, error.message)
    if (error instanceof NotFoundError) return refusal(404, error.message)
    console.error(error)
    return refusal(500, 'Something went wrong on the server.')
  }
}
