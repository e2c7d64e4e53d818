'use client'
// The files of the sandbox: a directory, or one of its files.

import { useCallback, useEffect, useState } from 'react'
import { type File, readdir, readFile } from '@/lib/client'

const HOME = '/home/user'
/** Characters of a file that are shown. */
const MOST = 100_000

interface Props {
  sandboxId: string
  /** Another number: look again. */
  version: number
}

export function Files({ sandboxId, version }: Props) {
  const [path, setPath] = useState(HOME)
  const [files, setFiles] = useState<File[]>([])
  const [shown, setShown] = useState<{ name: string; text: string }>()
  const [problem, setProblem] = useState<string>()

  const look = useCallback(async () => {
    try {
      setFiles(await readdir(sandboxId, path))
      setProblem(undefined)
    } catch (error) {
      setProblem((error as Error).message)
    }
  }, [sandboxId, path])

  useEffect(() => void look(), [look, version])

  async function open(file: File) {
    if (file.type === 'directory') return setPath(file.path)
    try {
      const text = await readFile(sandboxId, file.path)
      setShown({ name: file.name, text: text.length > MOST ? `${text.slice(0, MOST)}\n…` : text })
    } catch (error) {
      setShown({ name: file.name, text: (error as Error).message })
    }
  }

  return (
    <section className="card files" aria-label="Files">
      <header>
        <h2>Files</h2>
        <code>{shown ? shown.name : path}</code>
        {shown ? (
          <button type="button" className="quiet" onClick={() => setShown(undefined)}>
            Back
          </button>
        ) : (
          <button type="button" className="quiet" onClick={() => void look()}>
            Refresh
          </button>
        )}
      </header>
      {shown ? (
        <pre>{shown.text}</pre>
      ) : (
        <ul>
          {path !== '/' && (
            <li>
              <button type="button" onClick={() => setPath(path.slice(0, path.lastIndexOf('/')) || '/')}>
                <span className="name directory">..</span>
              </button>
            </li>
          )}
          {files.map((file) => (
            <li key={file.path}>
              <button type="button" onClick={() => void open(file)}>
                <span className={`name ${file.type}`}>{file.name}</span>
                {file.size !== undefined && file.type === 'file' && (
                  <span className="size">{inWords(file.size)}</span>
                )}
              </button>
            </li>
          ))}
          {files.length === 0 && (
            <li className="hint">{problem ?? 'Nothing here yet: run something that writes.'}</li>
          )}
        </ul>
      )}
    </section>
  )
}

function inWords(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  return bytes < 2 ** 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`
}
