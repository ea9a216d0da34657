// Swagger UI, with both descriptions. Whatever host they name, requests go to this one.

SwaggerUIBundle({
	dom_id: '#swagger-ui',
	urls: [
		{ name: 'Native API', url: '/openapi.json' },
		{ name: 'Paths of the gateway', url: '/gateway.json' },
	],
	presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
	layout: 'StandaloneLayout',
	deepLinking: true,
	defaultModelsExpandDepth: 0,
	validatorUrl: null,
	requestInterceptor(request) {
		const { pathname, search } = new URL(request.url, location.href);
		request.url = location.origin + pathname + search;
		return request;
	},
});
