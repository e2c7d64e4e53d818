export { type E2BConfig, e2b } from 'computesdk'
