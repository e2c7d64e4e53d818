'use client'
// The code: CodeMirror, in the colours of the page.

import { javascript } from '@codemirror/lang-javascript'
import { python } from '@codemirror/lang-python'
import { syntaxHighlighting } from '@codemirror/language'
import { classHighlighter } from '@lezer/highlight'
import { basicSetup, EditorView } from 'codemirror'
import { useEffect, useRef } from 'react'
import type { Language } from './samples'

const SYNTAX = { python, node: javascript }

interface Props {
  language: Language
  code: string
  onChange(code: string): void
}

/** Takes `code` when it is made; give it a `key` to make it anew. */
export function Editor({ language, code, onChange }: Props) {
  const place = useRef<HTMLDivElement>(null)
  const changed = useRef(onChange)
  const first = useRef(code)
  changed.current = onChange

  useEffect(() => {
    if (!place.current) return
    const view = new EditorView({
      parent: place.current,
      doc: first.current,
      extensions: [
        basicSetup,
        SYNTAX[language](),
        syntaxHighlighting(classHighlighter),
        EditorView.contentAttributes.of({ 'aria-label': 'Code' }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) changed.current(update.state.doc.toString())
        }),
      ],
    })
    return () => view.destroy()
  }, [language])

  return <div className="editor" ref={place} />
}
