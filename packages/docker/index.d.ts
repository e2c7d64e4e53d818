export { type DockerConfig, docker } from 'computesdk'
