export { type LocalConfig, local } from 'computesdk'
