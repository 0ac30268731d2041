export class GrantTable {}
