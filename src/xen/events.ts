export class EventChannels {}
