import { Playground } from './playground/playground'

export default function Page() {
  return <Playground />
}
