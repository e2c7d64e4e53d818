'use client'
// The page: code and what comes of it on the left, the sandbox's files and a terminal on the right.

import { useCallback, useEffect, useState } from 'react'
import { openSandbox, type VisitorSandbox } from '@/lib/client'
import { Editor } from './editor'
import { Files } from './files'
import { Output } from './output'
import { useRun } from './run'
import { LANGUAGES, type Language, SAMPLES } from './samples'
import { Terminal } from './terminal'

export function Playground() {
  const [sandbox, setSandbox] = useState<VisitorSandbox>()
  const [problem, setProblem] = useState<string>()
  const [language, setLanguage] = useState<Language>('python')
  const [code, setCode] = useState(SAMPLES)
  const [version, setVersion] = useState(0)

  useEffect(() => {
    openSandbox().then(setSandbox, (error) => setProblem(error.message))
  }, [])

  const lookAgain = useCallback(() => setVersion((version) => version + 1), [])
  const { run, start, stop } = useRun(lookAgain)
  const runNow = () => void start(language, code[language])

  return (
    <div className="page">
      <header className="top">
        <h1>
          <span aria-hidden="true">›_</span> computesdk playground
        </h1>
        <p className={problem ? 'state problem' : 'state'}>{problem ?? stateOf(sandbox)}</p>
      </header>
      <main>
        <section
          className="card code"
          aria-label="Editor"
          onKeyDownCapture={(event) => {
            if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return
            event.preventDefault()
            event.stopPropagation()
            if (sandbox && !run.isRunning) runNow()
          }}
        >
          <header>
            <div className="choice" role="radiogroup" aria-label="Language">
              {(Object.keys(LANGUAGES) as Language[]).map((one) => (
                <label key={one}>
                  <input
                    type="radio"
                    name="language"
                    checked={language === one}
                    onChange={() => setLanguage(one)}
                  />
                  {LANGUAGES[one]}
                </label>
              ))}
            </div>
            <kbd>Ctrl ⏎</kbd>
            {run.isRunning ? (
              <button type="button" className="stop" onClick={stop}>
                Stop
              </button>
            ) : (
              <button type="button" className="go" disabled={!sandbox} onClick={runNow}>
                Run
              </button>
            )}
          </header>
          <Editor
            key={language}
            language={language}
            code={code[language]}
            onChange={(text) => setCode((code) => ({ ...code, [language]: text }))}
          />
        </section>
        <Output run={run} />
        {sandbox && <Files sandboxId={sandbox.sandboxId} version={version} />}
        {sandbox && <Terminal onQuiet={lookAgain} />}
      </main>
    </div>
  )
}

function stateOf(sandbox: VisitorSandbox | undefined): string {
  if (!sandbox) return 'making your sandbox …'
  if (!sandbox.expiresAt) return 'your sandbox is ready · no network'
  const end = new Date(sandbox.expiresAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  return `your sandbox is ready · no network · ends at ${end}`
}
